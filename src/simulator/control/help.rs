//! The list of operations that `GET /` gives.

const HELP: &str = "\
ras-simulator: control interface. FARM is a farm's place, from 0, or its name. Bodies and answers are JSON.

GET    /switches                           every switch with its readings
GET    /farms                              the farms with their endpoints
GET    /farms/FARM                         the whole state: sites, brokers, sessions, clock, faults, switches
PATCH  /farms/FARM                         {\"guid\", \"reachable\", \"sessionIdleMinutes\", \"installSeconds\"}
GET    /farms/FARM/brokers                 the brokers with their agents' states
POST   /farms/FARM/brokers                 {\"server\", \"siteId\", \"person\"}: a person adds a broker
PATCH  /farms/FARM/brokers/ID              {\"enabled\", \"standby\", \"description\", \"ip\", \"alternativeIPs\", \"person\"}
DELETE /farms/FARM/brokers/ID?person=      a person deletes a broker
PUT    /farms/FARM/brokers/ID/priority     {\"priority\", \"person\"}: a person moves a secondary
PUT    /farms/FARM/brokers/ID/lock         {\"person\"}: a person keeps the broker open in the console
DELETE /farms/FARM/brokers/ID/lock
PATCH  /farms/FARM/sites/ID                {\"name\", \"autoPromotion\": {\"enabled\", \"afterMinutes\", \"failback\"}}: a person edits a site
PUT    /farms/FARM/primary                 {\"id\", \"person\"}: another broker becomes the primary
POST   /farms/FARM/apply                   {\"person\"}: a person applies what is pending
GET    /farms/FARM/journal?after=N         the requests, without secrets
DELETE /farms/FARM/journal                 forgets journal and counters
GET    /farms/FARM/counters                requests by route and status
GET    /farms/FARM/faults                  the faults that wait
POST   /farms/FARM/faults                  {\"method\", \"route\", \"skip\", \"count\", \"when\", \"effect\": {\"kind\"}}
DELETE /farms/FARM/faults
GET    /farms/FARM/clock
PUT    /farms/FARM/clock                   {\"set\", \"advanceSeconds\", \"frozen\"}
GET    /farms/FARM/switches
PATCH  /farms/FARM/switches                {\"switch\": \"reading\"}
GET    /farms/FARM/sessions
DELETE /farms/FARM/sessions                ends every session
PUT    /farms/FARM/agents/SERVER           {\"installed\", \"state\"}: a number, or null to follow the row
PUT    /farms/FARM/rate-limit              {\"requests\", \"window\"}
DELETE /farms/FARM/rate-limit
POST   /farms/FARM/accounts                {\"username\", \"password\", \"rights\"}: adds or changes an account
";

pub(super) async fn help() -> &'static str {
    HELP
}
