//! What every stage is given, and what it gives back.

use std::sync::Arc;
use std::thread::JoinHandle;

use schemas::Record;
use schemas::framing::Framing;
use schemas::topics::Topics;

use crate::bus::Bus;
use crate::registry::{Registry, RegistryError};
use crate::shutdown::{Level, Shutdown};

/// The surroundings of a stage.
#[derive(Clone)]
pub struct Env {
    /// The bus.
    pub bus: Arc<dyn Bus>,
    /// Topic names.
    pub topics: Topics,
    /// Partitions of the keyed topics.
    pub partitions: i32,
    /// Schema registry, or none.
    pub registry: Arc<Registry>,
    /// This stage's own request to stop.
    pub shutdown: Shutdown,
    /// Stable name of this process among its like.
    pub instance: String,
}

impl Env {
    /// How values of `R` on `topic` are prefixed.
    ///
    /// # Errors
    /// [`RegistryError`] when a registry is configured and does not answer.
    pub fn framing<R: Record>(&self, topic: &str) -> Result<Framing, RegistryError> {
        self.registry.framing::<R>(topic)
    }

    /// The same surroundings with a request to stop of its own.
    #[must_use]
    pub fn apart(&self) -> Self {
        Self { shutdown: Shutdown::new(), ..self.clone() }
    }
}

/// Any failure of a stage.
pub type StageFailure = Box<dyn std::error::Error + Send + Sync>;

/// A stage that runs.
pub struct Running {
    name: String,
    shutdown: Shutdown,
    handle: JoinHandle<Result<(), StageFailure>>,
}

impl Running {
    /// Starts `work` on a thread of its own.
    ///
    /// # Errors
    /// When the thread cannot be made.
    pub fn spawn(
        name: &str,
        shutdown: &Shutdown,
        work: impl FnOnce() -> Result<(), StageFailure> + Send + 'static,
    ) -> std::io::Result<Self> {
        let handle = std::thread::Builder::new().name(name.to_owned()).spawn(work)?;
        Ok(Self { name: name.to_owned(), shutdown: shutdown.clone(), handle })
    }

    /// Stage name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// True when it has ended, by itself or by request.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.handle.is_finished()
    }

    /// Asks it to stop and waits.
    ///
    /// # Errors
    /// What the stage failed with.
    pub fn stop(self, level: Level) -> Result<(), StageFailure> {
        self.shutdown.raise(level);
        self.join()
    }

    /// Waits until it ends.
    ///
    /// # Errors
    /// What the stage failed with.
    pub fn join(self) -> Result<(), StageFailure> {
        self.handle.join().unwrap_or_else(|_| Err(format!("stage {} panicked", self.name).into()))
    }
}
