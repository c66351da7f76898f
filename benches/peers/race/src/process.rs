//! A contestant at work: a process of its own, so that it may crash, and its memory and
//! processor time are its own.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use workload::{Reply, Request, Turn};

use crate::contestant::Contestant;

/// Who says nothing for so long is out.
const PATIENCE: Duration = Duration::from_secs(600);

pub(crate) struct Process {
    child: Child,
    requests: Option<ChildStdin>,
    replies: Receiver<String>,
    errors: PathBuf,
}

impl Process {
    /// Starts it in a folder of its own, where it and its driver keep what they cache.
    pub(crate) fn start(contestant: &Contestant, folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder)?;
        let errors = folder.join("stderr");
        let mut command = contestant.command()?;
        let mut child = command
            .current_dir(folder)
            .env("XDG_CACHE_HOME", folder)
            .env("MESA_SHADER_CACHE_DIR", folder.join("mesa"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(&errors)?)
            .spawn()
            .with_context(|| format!("cannot start {}", command.get_program().display()))?;
        let requests = child.stdin.take();
        let lines = BufReader::new(child.stdout.take().context("no standard output")?).lines();
        let (sender, replies) = mpsc::channel();
        thread::spawn(move || {
            lines
                .map_while(Result::ok)
                .try_for_each(|line| sender.send(line))
        });
        Ok(Self {
            child,
            requests,
            replies,
            errors,
        })
    }

    pub(crate) fn ask(&mut self, request: &Request) -> Result<Reply> {
        let requests = self.requests.as_mut().context("it was stopped")?;
        // A process that has ended says below why.
        let _ = writeln!(requests, "{}", serde_json::to_string(request)?);
        loop {
            let line = match self.replies.recv_timeout(PATIENCE) {
                Ok(line) => line,
                Err(RecvTimeoutError::Timeout) => bail!("no answer for {PATIENCE:?}"),
                Err(RecvTimeoutError::Disconnected) => bail!("{}", self.last_words()?),
            };
            // Libraries print, too.
            match serde_json::from_str(&line) {
                Ok(Reply::Failed(reason)) => bail!("{reason}"),
                Ok(reply) => return Ok(reply),
                Err(_) => {}
            }
        }
    }

    pub(crate) fn turn(&mut self, steps: usize) -> Result<Turn> {
        match self.ask(&Request::Turn(steps))? {
            Reply::Turned(turn) => Ok(turn),
            other => bail!("unexpected reply {other:?}"),
        }
    }

    /// How it ended, and why: the first line of a panic, or the last that it wrote before it
    /// gave up.
    fn last_words(&mut self) -> Result<String> {
        let status = self.child.wait()?;
        let errors = fs::read(&self.errors)?;
        let errors = String::from_utf8_lossy(&errors);
        let lines = errors.lines().map(str::trim);
        let mut lines = lines.filter(|line| !line.is_empty());
        let mut after_panic = lines
            .clone()
            .skip_while(|line| !line.contains("panicked at"));
        // What a process wrote before a signal ended it has nothing to do with that.
        let last = status.code().and_then(|_| lines.next_back());
        Ok(match after_panic.nth(1).or(last) {
            Some(line) => format!("crashed, {status}: {line}"),
            None => format!("crashed, {status}"),
        })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It ends when there are no more requests; some drivers hang at the end.
        self.requests = None;
        for _ in 0..100 {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
