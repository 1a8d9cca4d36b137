//! A server process that cannot outlive the one that started it, not even when that one is killed outright.
//!
//! The kernel closes a dead process's pipes, whatever it died of. So each server is started through a small shell that
//! leaves a watcher behind on the reading end of a pipe that only we hold, and then becomes the server: the process id
//! that we see is the server's own.

use std::{
    fs::File,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};

use super::failure::{Result, While as _};

/// `$1` is the folder to remove once we are gone (or empty), the rest is the server's command line.
/// The word `gone` says that we have reaped the server ourselves: its id may be another's by now and must not be killed.
/// The loop ends by count, since nobody may be there to reap the server.
const WATCHED: &str = r#"
exec 3<&0 </dev/null
server=$$ folder=$1
shift
(
  read -r word <&3
  [ "$word" = gone ] && exit
  kill -KILL "$server"
  tries=0
  while kill -0 "$server" && [ "$tries" -lt 50 ]; do sleep 0.1; tries=$((tries + 1)); done
  [ -z "$folder" ] || rm -rf "$folder"
) >/dev/null 2>&1 &
exec "$@" 3<&-
"#;

/// A running server; dropping it kills the server.
#[derive(Debug)]
pub(crate) struct Held {
    child: Child,
    /// `None` once the server was reaped.
    lifeline: Option<ChildStdin>,
    log: PathBuf,
}

impl Held {
    /// Starts `command` in a process group of its own, so that a Ctrl-C meant for us does not reach it; its output goes
    /// to `log`. `folder` is removed when we die without having stopped it.
    pub(crate) fn start(command: &Command, log: &Path, folder: Option<&Path>) -> Result<Self> {
        use std::os::unix::process::CommandExt as _;

        let name = command.get_program().display().to_string();
        let output = File::options().create(true).append(true).open(log).or_failed_to("open a log file")?;
        let errors = output.try_clone().or_failed_to("open a log file twice")?;
        let mut shell = Command::new("sh");
        shell
            .args(["-c", WATCHED, "sh"])
            .arg(folder.unwrap_or_else(|| Path::new("")))
            .arg(command.get_program());
        shell.args(command.get_args());
        for (key, value) in command.get_envs() {
            match value {
                Some(value) => shell.env(key, value),
                None => shell.env_remove(key),
            };
        }
        shell.stdin(Stdio::piped()).stdout(output).stderr(errors).process_group(0);
        let mut child = shell.spawn().or_failed_to(&format!("start {name}"))?;
        let lifeline = child.stdin.take();
        Ok(Self { child, lifeline, log: log.to_owned() })
    }

    /// The server's process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How the server ended, if it has.
    pub(crate) fn exited(&mut self) -> Option<ExitStatus> {
        let status = self.child.try_wait().ok().flatten()?;
        self.release();
        Some(status)
    }

    /// Sends SIGTERM; the server may take its time.
    pub(crate) fn terminate(&mut self) {
        self.signal(Signal::TERM);
    }

    /// Sends any signal, such as STOP and CONT to freeze and thaw the server. Nothing, once it has ended.
    pub(crate) fn signal(&mut self, signal: Signal) {
        if self.exited().is_none()
            && let Some(pid) = Pid::from_raw(self.child.id().cast_signed())
        {
            let _ended_meanwhile = kill_process(pid, signal);
        }
    }

    /// Kills the server outright and waits until it is gone.
    pub(crate) fn kill(&mut self) {
        let _ended_meanwhile = self.child.kill();
        let _reaped_before = self.child.wait();
        self.release();
    }

    /// The file that its output goes to.
    pub(crate) fn log(&self) -> &Path {
        &self.log
    }

    /// Everything that the server has printed so far.
    pub(crate) fn output(&self) -> String {
        std::fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// The last lines of what the server printed.
    pub(crate) fn last_words(&self, lines: usize) -> String {
        let output = self.output();
        let all: Vec<&str> = output.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }

    fn release(&mut self) {
        if let Some(mut lifeline) = self.lifeline.take() {
            let _watcher_ended_before = lifeline.write_all(b"gone\n");
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.kill();
    }
}
