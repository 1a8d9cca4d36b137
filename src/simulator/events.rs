//! What the world does to a farm: faults, time, agents, and the readings that it follows.

use jiff::{SignedDuration, Timestamp};

use super::config::{Account, RateLimit};
use super::farm::FarmHandle;
use super::fault::Fault;
use super::switches::{Switch, Switches};

/// What the world does to the farm.
impl FarmHandle {
    /// Plays a fault from now on; of several that fit, the one that was set first.
    pub fn fault(&self, fault: Fault) {
        self.0.lock().faults.push(fault);
    }

    /// Forgets the faults that wait.
    pub fn clear_faults(&self) {
        self.0.lock().faults.clear();
    }

    /// Follows a reading from now on.
    pub fn set_switch(&self, switch: Switch) {
        self.0.lock().switches.set(switch);
    }

    /// Follows all these readings from now on.
    pub fn set_switches(&self, switches: Switches) {
        self.0.lock().switches = switches;
    }

    /// Forgets journal and counters.
    pub fn clear_journal(&self) {
        self.0.lock().journal.clear();
    }

    /// Sets the farm's clock.
    pub fn set_clock(&self, time: Timestamp) {
        self.0.lock().clock.set(time);
    }

    /// Moves the farm's clock on, or back.
    pub fn advance_clock(&self, by: SignedDuration) {
        self.0.lock().clock.advance(by);
    }

    /// Ends whatever is being installed or removed: the time for it has passed while that of the caller stood still.
    pub fn finish_installations(&self) {
        self.0.installed.notify_waiters();
    }

    /// Lets the farm's clock stand, or run.
    pub fn freeze_clock(&self, frozen: bool) {
        self.0.lock().clock.freeze(frozen);
    }

    /// Takes connections, or resets each as soon as it is made. Open ones stay.
    pub fn set_reachable(&self, reachable: bool) {
        self.0.lock().reachable = reachable;
    }

    /// The same of one endpoint, counted as in the journal: its server is down.
    pub fn set_endpoint_reachable(&self, endpoint: usize, reachable: bool) {
        let mut state = self.0.lock();
        if reachable {
            state.dead_endpoints.remove(&endpoint);
        } else {
            state.dead_endpoints.insert(endpoint);
        }
    }

    /// Is another farm from the next logon on.
    pub fn set_guid(&self, guid: &str) {
        guid.clone_into(&mut self.0.lock().guid);
    }

    /// Ends every session without a logoff.
    pub fn end_sessions(&self) {
        self.0.lock().sessions.end_all();
    }

    /// Ends sessions that have not been used for so long.
    pub fn set_session_idle(&self, idle: SignedDuration) {
        self.0.lock().sessions.set_idle(idle);
    }

    /// Adds an account, or changes the password and rights of the one with this name. Sessions stay.
    pub fn set_account(&self, account: Account) {
        let mut state = self.0.lock();
        state.accounts.retain(|known| !known.username.eq_ignore_ascii_case(&account.username));
        state.accounts.push(account);
    }

    /// Limits the requests from now on; `None` takes the limit away.
    pub fn set_rate_limit(&self, limit: Option<RateLimit>) {
        self.0.lock().window.limit = limit;
    }

    /// Whether an agent is installed on a server. Without one, a broker is `NotVerified` (-4) after Apply.
    pub fn set_agent_installed(&self, server: &str, installed: bool) {
        let server = server.to_ascii_lowercase();
        let mut state = self.0.lock();
        if installed {
            state.agents.missing.remove(&server);
        } else {
            state.agents.missing.insert(server);
        }
    }

    /// How long a POST takes from now on that installs an agent, and a DELETE that removes one.
    pub fn set_install_time(&self, time: std::time::Duration) {
        self.0.lock().agents.install_time = time;
    }

    /// Makes the agent of a server report this number whatever its row says; `None` ends that.
    pub fn set_agent_state(&self, server: &str, number: Option<i64>) {
        let server = server.to_ascii_lowercase();
        let mut state = self.0.lock();
        match number {
            Some(number) => state.agents.forced.insert(server, number),
            None => state.agents.forced.remove(&server),
        };
    }
}
