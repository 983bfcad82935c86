//! One attempt at one endpoint, as the endpoint's condition and the backend's breaker see it.

use std::cell::Cell;
use std::rc::Rc;

use super::backend::Pass;
use super::ended::Ended;
use super::endpoint::Endpoint;
use super::error::UpstreamError;

/// One attempt at one endpoint, from its choice to the end of its answer. What became of it is told
/// once, with [`Attempt::ended`]; dropped before that it tells nothing.
#[derive(Debug)]
pub struct Attempt {
    endpoint: Rc<Endpoint>,
    pass: Cell<Pass>,
    told: Cell<bool>,
}

impl Attempt {
    /// An attempt begins, if the breaker of the endpoint's backend lets it.
    ///
    /// # Errors
    /// [`UpstreamError::Shed`]; nothing has begun then.
    pub fn begin(endpoint: &Rc<Endpoint>) -> Result<Self, UpstreamError> {
        let pass = endpoint.backend().enter()?;
        if !endpoint.is_usable() {
            endpoint.shard().forced();
        }
        endpoint.shard().begin();
        Ok(Self {
            endpoint: Rc::clone(endpoint),
            pass: Cell::new(pass),
            told: Cell::new(false),
        })
    }

    /// The endpoint.
    pub fn endpoint(&self) -> &Rc<Endpoint> {
        &self.endpoint
    }

    /// The answer, whose head was told already, broke off before its end by the endpoint's fault.
    pub fn broke_off(&self) {
        self.endpoint.shard().broke_off();
    }

    /// What the head of the answer, or its absence, says about the endpoint. Later calls are ignored.
    pub fn ended(&self, ended: Ended) {
        if self.told.replace(true) {
            return;
        }
        self.endpoint.note(ended);
        let mut pass = self.pass.get();
        self.endpoint.backend().probed(&mut pass, ended);
        self.pass.set(pass);
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        let mut pass = self.pass.get();
        self.endpoint.backend().leave(&mut pass, Ended::Unknown);
        self.endpoint.shard().end();
    }
}
