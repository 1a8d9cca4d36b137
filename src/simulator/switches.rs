//! What the vendor's reference leaves open, one switch for each question.
//!
//! A switch is an enum of readings; the first reading is the default. A test that depends on an open
//! question runs once with each reading. `docs/simulator.md` has the same table with the tests.

use serde::{Deserialize, Serialize};

/// One switch as the control interface and `--list-switches` show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SwitchDescription {
    /// Name in JSON and YAML.
    pub name: String,
    /// The question that the reference leaves open.
    pub question: String,
    /// The readings, the default first.
    pub readings: Vec<ReadingDescription>,
}

/// One reading of a switch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReadingDescription {
    /// Name in JSON and YAML.
    pub name: String,
    /// What the farm does under this reading.
    pub meaning: String,
}

fn camel_case(name: &str) -> String {
    let mut upper = false;
    let mut out = String::with_capacity(name.len());
    for (index, letter) in name.chars().enumerate() {
        match letter {
            '_' => upper = true,
            _ if upper => {
                out.extend(letter.to_uppercase());
                upper = false;
            }
            _ if index == 0 => out.extend(letter.to_lowercase()),
            _ => out.push(letter),
        }
    }
    out
}

fn sentence(lines: &[&str]) -> String {
    let trimmed: Vec<&str> = lines.iter().map(|line| line.trim()).collect();
    trimmed.join(" ")
}

macro_rules! switches {
    ($(
        $(#[doc = $question:literal])+
        $field:ident: $name:ident {
            $(#[doc = $first_meaning:literal])+ $first:ident
            $(, $(#[doc = $meaning:literal])+ $reading:ident)* $(,)?
        }
    )+) => {
        $(
            $(#[doc = $question])+
            #[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
            #[serde(rename_all = "camelCase")]
            pub enum $name {
                $(#[doc = $first_meaning])+
                #[default]
                $first,
                $($(#[doc = $meaning])+ $reading,)*
            }
        )+

        /// The readings a farm follows.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
        #[serde(rename_all = "camelCase", deny_unknown_fields, default)]
        pub struct Switches {
            $($(#[doc = $question])+ pub $field: $name,)+
        }

        /// One switch with the reading to follow.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(rename_all = "camelCase")]
        pub enum Switch {
            $($(#[doc = $question])+ $name($name),)+
        }

        impl Switches {
            /// Follows `switch` from now on.
            pub fn set(&mut self, switch: Switch) {
                match switch {
                    $(Switch::$name(reading) => self.$field = reading,)+
                }
            }

            /// Every switch with its readings, the default first.
            pub fn describe() -> Vec<SwitchDescription> {
                vec![$(SwitchDescription {
                    name: camel_case(stringify!($field)),
                    question: sentence(&[$($question),+]),
                    readings: vec![
                        ReadingDescription {
                            name: camel_case(stringify!($first)),
                            meaning: sentence(&[$($first_meaning),+]),
                        },
                        $(ReadingDescription {
                            name: camel_case(stringify!($reading)),
                            meaning: sentence(&[$($meaning),+]),
                        },)*
                    ],
                },)+]
            }
        }
    };
}

switches! {
    /// What a list shows of a row between its DELETE and the next Apply.
    deleted_row: DeletedRow {
        /// The row stays, with `markedForDeletion: true`.
        MarkedUntilApply,
        /// The row is gone at once.
        GoneAtOnce,
    }
    /// What GET by id gives for a row that is marked for deletion.
    get_marked: GetMarked {
        /// 200 with the row.
        Row,
        /// 404.
        NotFound,
    }
    /// What GET, PUT and DELETE give for an id that never was or is gone.
    get_deleted: GetDeleted {
        /// 404, as the page documents.
        Status404,
        /// 400 with `code` and `msg`.
        Status400,
    }
    /// What a second DELETE of a marked row gives.
    delete_marked: DeleteMarked {
        /// 204, and nothing changes.
        Status204,
        /// 404.
        Status404,
    }
    /// What a PUT of a marked row gives.
    update_marked: UpdateMarked {
        /// 204, and the values change.
        Accepted,
        /// 404.
        Status404,
        /// 409.
        Status409,
    }
    /// What a POST with the key of a marked row does.
    create_over_marked: CreateOverMarked {
        /// 409.
        Conflict,
        /// 201 with the old row, no longer marked.
        Revives,
        /// 201 with a new row; the old one goes with the next Apply.
        NewRow,
    }
    /// What a POST with the key of another broker does.
    create_twin: CreateTwin {
        /// 409.
        Conflict,
        /// 201 with a second row.
        SecondRow,
    }
    /// What a list gives when nothing matches.
    empty_list: EmptyList {
        /// 200 with `[]`.
        EmptyArray,
        /// 404.
        Status404,
    }
    /// How the `Server` filter of the broker list compares.
    server_filter: ServerFilter {
        /// The whole name, in any case.
        Exact,
        /// Any part of the name, in any case.
        Substring,
        /// Not at all: every row is given.
        Ignored,
    }
    /// The status of a request over the rate limit.
    rate_limit_status: RateLimitStatus {
        /// 429.
        Status429,
        /// 503.
        Status503,
    }
    /// Whether an answer over the rate limit says when to come again.
    rate_limit_retry_after: RateLimitRetryAfter {
        /// No `Retry-After`.
        Absent,
        /// `Retry-After` with the seconds that are left of the window.
        Sent,
    }
    /// What a logon with a wrong name or password gives.
    wrong_password: WrongPassword {
        /// 401 with problem details.
        Status401,
        /// 400 with `code` and `msg`.
        Status400,
    }
    /// Which form of user name a logon accepts.
    logon_user_form: LogonUserForm {
        /// `user`, `DOMAIN\user` and `user@domain`.
        Any,
        /// `user` only.
        BareOnly,
    }
    /// The status of a write to an object that somebody has locked in the console.
    locked_status: LockedStatus {
        /// 423.
        Status423,
        /// 409.
        Status409,
        /// 400.
        Status400,
    }
    /// The status when the primary is to be disabled, put in standby or deleted.
    primary_refusal: PrimaryRefusal {
        /// 400.
        Status400,
        /// 409.
        Status409,
        /// 403.
        Status403,
    }
    /// The status of a POST that names a site which the farm does not have.
    unknown_site: UnknownSite {
        /// 400.
        Status400,
        /// 404.
        Status404,
    }
    /// What becomes of a body's field that the reference does not list.
    unknown_fields: UnknownFields {
        /// The request is refused with 400.
        Refused,
        /// The field is ignored.
        Ignored,
    }
    /// The body of an error whose form is not documented (400, 403, 423, 429 and others).
    error_body: ErrorBody {
        /// Problem details for 401, 404 and 409, `code` and `msg` for the others.
        Mixed,
        /// Problem details for all.
        Problem,
        /// `code` and `msg` for all.
        CodeMsg,
        /// No body at all.
        Empty,
    }
    /// The status of a request without `application/json; api-version=1.0`.
    media_type_refusal: MediaTypeRefusal {
        /// 415.
        Status415,
        /// 400.
        Status400,
    }
    /// How `alternativeIPs` is stored and read back.
    alternative_ips_form: AlternativeIpsForm {
        /// As it was sent.
        AsSent,
        /// Joined by commas.
        Comma,
        /// Joined by semicolons.
        Semicolon,
    }
    /// What `null` for a text field of a PUT means.
    put_null: PutNull {
        /// Unchanged, as if it were not there.
        Unchanged,
        /// The field is cleared.
        Clears,
    }
    /// What an empty text in a PUT does to a field.
    put_empty: PutEmpty {
        /// It clears the field; an emptied `ip` is filled in again.
        Clears,
        /// Nothing: the field keeps its value.
        Ignored,
        /// The request is refused with 400.
        Refused,
    }
    /// How an empty text of a broker is shown.
    empty_text: EmptyText {
        /// `""`.
        EmptyString,
        /// `null`.
        Null,
        /// The field is not there.
        Absent,
    }
    /// How the farm spells the server of a new broker.
    server_spelling: ServerSpelling {
        /// As it was sent.
        AsSent,
        /// In capitals.
        UpperCase,
    }
    /// How `adminCreate` and `adminLastMod` spell an account.
    admin_spelling: AdminSpelling {
        /// `user`.
        BareUser,
        /// `DOMAIN\user`.
        DomainUser,
        /// `user@domain`.
        Upn,
    }
    /// How audit times are written.
    time_form: TimeForm {
        /// UTC with milliseconds and `Z`.
        Utc,
        /// The farm's local time, without an offset.
        LocalWithoutOffset,
    }
    /// Whether integers of an answer are numbers.
    integers: Integers {
        /// Numbers.
        Numbers,
        /// Text that holds a number.
        Strings,
    }
    /// What the 201 of a created broker holds.
    created_body: CreatedBody {
        /// The whole row.
        Row,
        /// The row without `id`.
        WithoutId,
        /// Nothing.
        Empty,
    }
    /// Where Apply is.
    apply_path: ApplyPath {
        /// `POST /api/Settings/apply`.
        Settings,
        /// `PUT /api/FarmSettings/apply`.
        FarmSettings,
        /// Nowhere: 404.
        Absent,
    }
    /// What Apply answers.
    apply_answer: ApplyAnswer {
        /// 204.
        Status204,
        /// 200 with a text.
        Status200,
    }
    /// When Apply's work is done.
    apply_timing: ApplyTiming {
        /// Before the answer.
        Synchronous,
        /// Two seconds (of the farm's clock) after the answer.
        Deferred,
    }
    /// What a secondary broker's API says to a write.
    secondary_writes: SecondaryWrites {
        /// 403.
        Refused,
        /// The same as the primary's.
        Accepted,
    }
    /// What a logon tells besides the token.
    logon_answer: LogonAnswer {
        /// Every documented field.
        Full,
        /// Nothing, as in the vendor's samples.
        TokenOnly,
        /// Every field but `farmGUID`.
        WithoutFarmGuid,
        /// Every field but `primaryBrokerConnection` and `licensingServerConnection`.
        WithoutConnection,
    }
    /// Whether a logon tells of pending changes.
    apply_settings_enabled: ApplySettingsEnabled {
        /// `applySettingsEnabled` is there and true while changes are pending.
        Present,
        /// The field is not there.
        Absent,
        /// The field is there and always true.
        AlwaysTrue,
    }
    /// What makes `settingsId` grow.
    settings_id: SettingsId {
        /// Each Apply.
        PerApply,
        /// Each change.
        PerChange,
    }
    /// What `id` of an agent is.
    agent_id: AgentId {
        /// The broker's id, as text.
        RowId,
        /// A text that has nothing to do with the broker's id.
        Opaque,
    }
    /// The names of an agent's server and version.
    agent_fields: AgentFields {
        /// `server` and `agentVer`.
        Server,
        /// `name` and `agentVersion`.
        Name,
    }
    /// When a change shows in the lists whose call installs or removes an agent first.
    install_timing: InstallTiming {
        /// With the answer, when that is done.
        AtTheEnd,
        /// At once; the answer comes when it is done.
        AtTheStart,
    }
    /// Whether the calls exist that are known only by analogy: a broker's priority, promotion and status.
    inferred_calls: InferredCalls {
        /// They give 404.
        Absent,
        /// `PUT /api/Broker/{id}/priority`, `POST /api/Broker/{id}/promote`, `GET /api/Broker/status`.
        Present,
    }
    /// What moving a broker asks for, where there is such a call.
    priority_form: PriorityForm {
        /// One place up or down: `{"direction": 0}` or `{"direction": 1}`.
        Relative,
        /// A place from 1, and the others close up: `{"priority": 2}`.
        Absolute,
    }
    /// Whether a site's settings of automatic promotion can be read and written, and what they are called.
    promotion_settings: PromotionSettings {
        /// They cannot: 404.
        Absent,
        /// `GET` and `PUT /api/BrokerPromotion/{id}`, with `enabled`, `afterMinutes` and `failback`.
        Present,
        /// The same calls, with `autoPromotion`, `promotionTime` and `autoFailback`.
        OtherNames,
    }
    /// What becomes of the session over which a broker was promoted.
    promotion_session: PromotionSession {
        /// It ends, as after the vendor's command.
        Ended,
        /// It goes on.
        Kept,
    }
    /// When a promotion takes effect.
    promotion_timing: PromotionTiming {
        /// Before the answer.
        Synchronous,
        /// Two seconds (of the farm's clock) after the answer.
        Deferred,
    }
}
