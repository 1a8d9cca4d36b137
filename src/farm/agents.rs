//! The agents of all brokers, from one call: the farm's broker status where its object names such a call and the farm
//! has it, else the documented list of agents.

use std::sync::Arc;

use super::actor::Actor;
use crate::crd::Capability;
use crate::ras::{Agent, Answer, Error};

impl Actor {
    /// Reads the agents. What cannot be read changes nothing: the last known states stay.
    pub(super) async fn list_agents(&self) {
        if self.has_status_call() && self.read_agents(Capability::Status).await {
            return;
        }
        self.read_agents(Capability::Agents).await;
    }

    /// Whether the call is to be used. Once it was found missing it is not tried again before something changes.
    fn has_status_call(&self) -> bool {
        let state = self.farm.state.lock();
        state.object.spec.api.status.is_some() && !state.capabilities.lacks(Capability::Status)
    }

    /// One call; `false` only where the farm does not have it.
    async fn read_agents(&self, from: Capability) -> bool {
        let Some(link) = self.link() else { return true };
        let token = &link.session.token;
        let answer = if from == Capability::Status {
            self.read(link.client.broker_status(token)).await
        } else {
            self.read(link.client.list_agents(token)).await
        };
        let Some(answer) = answer else { return true };
        self.take_agents(from, answer)
    }

    fn take_agents(&self, from: Capability, answer: Result<Answer<Vec<Agent>>, Error>) -> bool {
        let mut state = self.farm.state.lock();
        let seen = answer.as_ref().map(|_| ()).map_err(Error::status);
        state.unreported |= state.capabilities.note(from, seen);
        match answer {
            Ok(answer) => {
                let next = state.snapshot.with_agents(answer.value);
                let changed = state.snapshot.changed_keys(&next);
                state.snapshot = Arc::new(next);
                drop(state);
                self.wake_changed(&changed);
                true
            }
            Err(error) => {
                state.note_limit(&error, self.farm.clock.now());
                tracing::debug!(farm = %self.farm.key, reason = error.reason(), "the farm's agents cannot be listed");
                !state.capabilities.lacks(from)
            }
        }
    }
}
