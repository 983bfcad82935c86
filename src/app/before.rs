//! Who was there before this process.

use super::doors::Inherited;
use super::error::AppError;
use super::handover::Predecessor;

/// Who was there before a gateway, and has its listening sockets.
#[derive(Debug, Default)]
pub enum Before {
    /// Nobody: addresses are bound.
    #[default]
    Nobody,
    /// The service manager, if it has any of them.
    ServiceManager,
    /// Another process, which is in charge until this one can be.
    Process(Predecessor),
}

impl Before {
    /// The sockets that are there already.
    pub(super) fn sockets(&mut self) -> Result<Inherited, AppError> {
        match self {
            Self::Nobody => Ok(Inherited::default()),
            Self::ServiceManager => Inherited::from_service_manager().map_err(AppError::Sockets),
            Self::Process(before) => {
                let (passed, owner) = before.sockets()?;
                Ok(Inherited::new(passed, owner))
            }
        }
    }

    /// Whether a process has the state, and gives it.
    pub(super) fn has_state(&self) -> bool {
        matches!(self, Self::Process(_))
    }

    /// Gets the state from the process that has it.
    pub(super) fn release_state(&mut self) -> Result<(), AppError> {
        match self {
            Self::Process(before) => Ok(before.release_state()?),
            Self::Nobody | Self::ServiceManager => Ok(()),
        }
    }

    /// What nobody asked for is a mistake when the service manager has it: clients would connect,
    /// and wait for ever.
    pub(super) fn leave(&self, inherited: &Inherited) -> Result<(), AppError> {
        match (self, inherited.left()) {
            (Self::ServiceManager, strays) if !strays.is_empty() => {
                Err(AppError::StraySockets { strays })
            }
            _ => Ok(()),
        }
    }

    /// This process takes traffic: from now on it is in charge.
    pub(super) fn take_charge(&mut self) -> Result<(), AppError> {
        if let Self::Process(before) = self {
            before.take_charge()?;
            tracing::info!(before = before.pid(), "took over from another process");
        }
        Ok(())
    }
}
