//! A program that ends with this one.

use std::fs::{self, File};
use std::process::{Child, Command, Stdio};

use testkit::Folder;

/// Killed when it is dropped, and by the guardian of the folder when this process dies: its command line has the
/// folder in it.
#[derive(Debug)]
pub(crate) struct Program(Child);

impl Program {
    pub(crate) fn start(
        folder: &Folder,
        name: &str,
        command: &mut Command,
    ) -> Result<Self, String> {
        let path = folder.path().join(format!("{name}.log"));
        let log = File::create(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let errors = log.try_clone().map_err(|error| error.to_string())?;
        let command = command.stdin(Stdio::null()).stdout(log).stderr(errors);
        let child = command
            .spawn()
            .map_err(|error| format!("{name} does not start: {error}"))?;
        let _ = fs::write(
            folder.path().join(format!("{name}.pid")),
            child.id().to_string(),
        );
        Ok(Self(child))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
