//! The process of one engine, as it is seen by who measures it.
//!
//! It is asked by a line and answers by a line (see `child`). One that has failed, has
//! gone, or is silent for a minute is killed, and everything it is asked later fails
//! for the same reason. No process outlives its [`Process`].

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use super::child::CHILD;

const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Process {
    child: Child,
    commands: Option<ChildStdin>,
    answers: Receiver<String>,
    /// Why it answers no more.
    failed: Option<String>,
}

/// What was answered: numbers.
#[derive(Debug)]
pub(crate) struct Answer(Vec<String>);

impl Answer {
    pub(crate) fn number(&self, at: usize) -> f64 {
        self.0[at].parse().expect("a number")
    }

    pub(crate) fn seconds(&self) -> f64 {
        self.number(0)
    }

    /// All numbers but the first.
    pub(crate) fn others(&self) -> impl Iterator<Item = f64> {
        (1..self.0.len()).map(|at| self.number(at))
    }

    /// What was seen, if it was said.
    pub(crate) fn seen(&self) -> &[String] {
        &self.0[1..]
    }
}

impl Process {
    /// Starts one: `life` makes its events others than those of earlier processes.
    pub(crate) fn start(engine: &str, dir: &Path, events: u64, life: u64) -> Process {
        Process::start_under(None, engine, dir, events, life)
    }

    /// Starts one under a tracer, which writes what it sees into a file.
    pub(crate) fn start_under(
        tracer: Option<&mut Command>,
        engine: &str,
        dir: &Path,
        events: u64,
        life: u64,
    ) -> Process {
        let this = std::env::current_exe().expect("the path of this program");
        let mut direct = Command::new(&this);
        let command = match tracer {
            Some(tracer) => tracer.arg(&this),
            None => &mut direct,
        };
        command.args([CHILD, engine]).arg(dir).args([events.to_string(), life.to_string()]);
        // One engine is told in no other way where its files are to be, and to be silent.
        command.env("WALRUS_DATA_DIR", dir).env("WALRUS_QUIET", "1");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("a child process");
        let (commands, answers) = (child.stdin.take(), child.stdout.take().expect("it was piped"));
        let (send, receive) = channel();
        // Ends with the process, whose output ends then.
        thread::spawn(move || {
            for line in BufReader::new(answers).lines().map_while(Result::ok) {
                // What an engine prints for itself is none of ours.
                if (line.starts_with("ok") || line.starts_with("failed ")) && send.send(line).is_err() {
                    return;
                }
            }
        });
        Process { child, commands, answers: receive, failed: None }
    }

    /// Asks for something, and waits for the answer.
    pub(crate) fn ask(&mut self, command: &str) -> Result<Answer, String> {
        self.tell(command)?;
        let answer = match self.answers.recv_timeout(PATIENCE) {
            Ok(line) if line.starts_with("ok") => {
                return Ok(Answer(line.split_whitespace().skip(1).map(str::to_owned).collect()));
            }
            Ok(line) => line.trim_start_matches("failed ").to_owned(),
            Err(RecvTimeoutError::Timeout) => format!("no answer to `{command}` for {} s", PATIENCE.as_secs()),
            Err(RecvTimeoutError::Disconnected) => match self.child.wait() {
                Ok(status) => format!("it ended at `{command}`: {status}"),
                Err(error) => format!("it ended at `{command}`: {error}"),
            },
        };
        self.kill();
        self.failed = Some(answer.clone());
        Err(answer)
    }

    /// Asks for something that has no answer.
    pub(crate) fn tell(&mut self, command: &str) -> Result<(), String> {
        if let Some(why) = &self.failed {
            return Err(why.clone());
        }
        let commands = self.commands.as_mut().expect("until it is dropped");
        // Who has gone says why, if it could: that is read by who asks.
        let _ = writeln!(commands, "{command}").and_then(|()| commands.flush());
        Ok(())
    }

    /// With SIGKILL.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The end of its commands is the end of its work.
        self.commands = None;
        let ends = (0..50).any(|_| {
            let ended = !matches!(self.child.try_wait(), Ok(None));
            if !ended {
                thread::sleep(Duration::from_millis(20));
            }
            ended
        });
        if !ends {
            self.kill();
        }
    }
}
