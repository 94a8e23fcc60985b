//! The one way to run a program: argv as data, null stdin, bounded stderr, a watchdog.
//!
//! What an exit status means is the business of the room that knows the program.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use cap_std_ext::cmdext::{CapStdExtCommandExt, CmdFds};
use rustix::process::{Pid, Signal};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, ChildStderr, ChildStdout};
use tokio::sync::watch;
use tracing::debug;

mod stall;

use stall::Watchdog;

/// Enough for every message that a container tool prints; the rest of a flood is dropped.
const STDERR_TAIL_BYTES: usize = 64 * 1024;

/// How long a program may take to clean up after SIGTERM before it gets SIGKILL.
const TERMINATION_GRACE: Duration = Duration::from_secs(5);

/// How long to go on reading after a program has ended: a child of it may hold a pipe open.
const PIPE_GRACE: Duration = Duration::from_secs(2);

/// A program to run, as data.
#[derive(Debug, Clone, Default)]
pub struct Invocation {
    /// Name, looked up in `PATH`.
    pub program: &'static str,
    /// Arguments without the program's name.
    pub args: Vec<String>,
    /// The whole environment; nothing is inherited.
    pub env: BTreeMap<&'static str, String>,
    /// Descriptors by the number that they have in the child.
    pub fds: BTreeMap<i32, Arc<OwnedFd>>,
}

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It exited with this status.
    Code(i32),
    /// A signal ended it.
    Signal(i32),
}

/// A program that ran to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// How it ended.
    pub exit: Exit,
    /// All that it wrote to stdout.
    pub stdout: String,
    /// The last 64 KiB that it wrote to stderr.
    pub stderr: String,
}

/// Why a program did not run to its end.
#[derive(Debug)]
pub enum ChildFault {
    /// There is no such program in `PATH`.
    Missing(&'static str),
    /// It made no progress for this long and was killed.
    Stalled(Duration),
    /// The run was interrupted, and the program ended with it.
    Interrupted,
    /// It could not be started.
    Start(io::Error),
    /// It could not be watched.
    Io(io::Error),
}

impl fmt::Display for ChildFault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(program) => write!(formatter, "{program} is not installed"),
            Self::Stalled(limit) => {
                write!(formatter, "no progress for {} s, killed", limit.as_secs())
            }
            Self::Interrupted => formatter.write_str("interrupted"),
            Self::Start(error) | Self::Io(error) => write!(formatter, "{error}"),
        }
    }
}

impl std::error::Error for ChildFault {}

impl From<io::Error> for ChildFault {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Tells whether the operator or the system wants the run to end.
#[derive(Debug, Clone)]
pub struct Interrupt(watch::Receiver<bool>);

impl Interrupt {
    /// A handle to request the interrupt with, and the side that is asked.
    pub fn new() -> (watch::Sender<bool>, Self) {
        let (sender, receiver) = watch::channel(false);
        (sender, Self(receiver))
    }

    /// Whether it was requested.
    pub fn is_requested(&self) -> bool {
        *self.0.borrow()
    }

    /// Returns once it is requested; never, when nobody can request it any more.
    pub async fn requested(&self) {
        let mut receiver = self.0.clone();
        if receiver.wait_for(|requested| *requested).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// Runs a program to its end and collects what it prints.
///
/// `prepare` sees the command before its descriptors are put in place. `stall_limit` ends a
/// program that neither moves data nor computes for so long. What children that outlive the
/// program print is lost.
pub async fn run(
    invocation: &Invocation,
    prepare: impl FnOnce(&mut std::process::Command),
    stall_limit: Duration,
    interrupt: &Interrupt,
) -> Result<Finished, ChildFault> {
    if interrupt.is_requested() {
        return Err(ChildFault::Interrupted);
    }
    let mut child = spawn(invocation, prepare)?;
    // They stay open to the end: a program that is told to end may die of a closed one instead.
    let mut stdout = child.stdout.take().expect("stdout is piped");
    let mut stderr = child.stderr.take().expect("stderr is piped");
    let mut watchdog = Watchdog::new(child.id(), stall_limit);
    let (signal, fault) = tokio::select! {
        finished = finish(&mut child, &mut stdout, &mut stderr) => return Ok(finished?),
        limit = watchdog.stalled() => (Signal::KILL, ChildFault::Stalled(limit)),
        () = interrupt.requested() => (Signal::TERM, ChildFault::Interrupted),
    };
    end_group(&mut child, signal).await?;
    Err(fault)
}

async fn finish(
    child: &mut Child,
    stdout: &mut ChildStdout,
    stderr: &mut ChildStderr,
) -> io::Result<Finished> {
    let (mut output, mut tail) = (Vec::new(), Vec::new());
    let status = {
        let reading = async {
            tokio::try_join!(
                read_tail(stdout, &mut output, usize::MAX),
                read_tail(stderr, &mut tail, STDERR_TAIL_BYTES),
            )
        };
        tokio::pin!(reading);
        tokio::select! {
            read = &mut reading => {
                read?;
                child.wait().await?
            }
            status = child.wait() => {
                if let Ok(read) = tokio::time::timeout(PIPE_GRACE, reading).await {
                    read?;
                }
                status?
            }
        }
    };
    let finished = Finished {
        exit: exit(status),
        stdout: String::from_utf8_lossy(&output).into_owned(),
        stderr: String::from_utf8_lossy(&tail).into_owned(),
    };
    debug!(exit = ?finished.exit, "program ended");
    Ok(finished)
}

fn spawn(
    invocation: &Invocation,
    prepare: impl FnOnce(&mut std::process::Command),
) -> Result<Child, ChildFault> {
    debug!(program = invocation.program, args = ?invocation.args, "spawning a program");
    let mut command = std::process::Command::new(invocation.program);
    command
        .args(&invocation.args)
        .env_clear()
        .envs(&invocation.env)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    prepare(&mut command);
    let mut fds = CmdFds::new();
    for (number, fd) in &invocation.fds {
        fds.take_fd_n(Arc::clone(fd), *number);
    }
    command.take_fds(fds);
    let mut command = tokio::process::Command::from(command);
    command.kill_on_drop(true);
    command.spawn().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound if !in_path(invocation) => ChildFault::Missing(invocation.program),
        _ => ChildFault::Start(error),
    })
}

/// A failed mount in the child reports "not found" as well, so the program is looked for.
fn in_path(invocation: &Invocation) -> bool {
    invocation
        .env
        .get("PATH")
        .into_iter()
        .flat_map(std::env::split_paths)
        .any(|directory| directory.join(invocation.program).is_file())
}

/// Ends the program and its children, and waits until it has ended.
async fn end_group(child: &mut Child, first_signal: Signal) -> io::Result<()> {
    let Some(group) = child.id().and_then(|id| Pid::from_raw(id.cast_signed())) else {
        return Ok(());
    };
    let send = |signal| match rustix::process::kill_process_group(group, signal) {
        Err(rustix::io::Errno::SRCH) | Ok(()) => Ok(()),
        Err(errno) => Err(io::Error::from(errno)),
    };
    send(first_signal)?;
    let ended = tokio::time::timeout(TERMINATION_GRACE, child.wait()).await;
    // Children of the program may outlive it; nothing of the group may touch the store later.
    send(Signal::KILL)?;
    match ended {
        Ok(status) => status.map(|_| ()),
        Err(_) => child.wait().await.map(|_| ()),
    }
}

/// Reads to the end of the stream and keeps the last `keep_bytes`; what was read stays when the
/// reading is given up.
async fn read_tail(
    stream: &mut (impl AsyncRead + Unpin),
    tail: &mut Vec<u8>,
    keep_bytes: usize,
) -> io::Result<()> {
    let mut buffer = vec![0; 8192];
    loop {
        let count = stream.read(&mut buffer).await?;
        if count == 0 {
            return Ok(());
        }
        tail.extend_from_slice(&buffer[..count]);
        let excess = tail.len().saturating_sub(keep_bytes);
        tail.drain(..excess);
    }
}

fn exit(status: ExitStatus) -> Exit {
    match (status.code(), status.signal()) {
        (Some(code), _) => Exit::Code(code),
        (None, signal) => Exit::Signal(signal.unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Invocation {
        Invocation {
            program: "sh",
            args: vec!["-c".into(), script.into()],
            env: BTreeMap::from([("PATH", std::env::var("PATH").unwrap())]),
            fds: BTreeMap::new(),
        }
    }

    const LIMIT: Duration = Duration::from_secs(60);

    async fn run_shell(script: &str, limit: Duration) -> Result<Finished, ChildFault> {
        let (_sender, interrupt) = Interrupt::new();
        run(&shell(script), |_| {}, limit, &interrupt).await
    }

    #[tokio::test(flavor = "current_thread")]
    async fn exits_signals_and_streams_are_told_apart() {
        for (script, exit, stdout, stderr) in [
            (
                "echo out; echo err >&2; exit 125",
                Exit::Code(125),
                "out\n",
                "err\n",
            ),
            ("kill -TERM $$", Exit::Signal(15), "", ""),
            ("cat; env | grep -c SECRET", Exit::Code(1), "0\n", ""),
        ] {
            let finished = run_shell(script, LIMIT).await.expect("sh is there");
            assert_eq!(finished.exit, exit, "{script}");
            assert_eq!(finished.stdout, stdout, "{script}");
            assert_eq!(finished.stderr, stderr, "{script}");
        }
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_missing_program_is_told_from_a_failed_start() {
        let (_sender, interrupt) = Interrupt::new();
        let invocation = Invocation {
            program: "no-such-program",
            ..shell("")
        };
        let fault = run(&invocation, |_| {}, LIMIT, &interrupt).await;
        assert!(matches!(fault, Err(ChildFault::Missing("no-such-program"))));
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_program_that_does_nothing_is_stalled_and_one_that_works_is_not() {
        let limit = Duration::from_secs(1);
        let stalled = run_shell("sleep 60 & wait", limit).await;
        assert!(
            matches!(stalled, Err(ChildFault::Stalled(_))),
            "{stalled:?}"
        );
        let busy = "i=0; while [ $i -lt 400000 ]; do i=$((i+1)); done; echo done";
        let finished = run_shell(busy, limit).await.expect("it computes");
        assert_eq!(finished.stdout, "done\n");
    }

    #[tokio::test(flavor = "current_thread")]
    async fn an_interrupt_ends_the_program_and_its_children() {
        let (sender, interrupt) = Interrupt::new();
        let temp = tempfile::tempdir().unwrap();
        let pid_file = temp.path().join("pid");
        let script = format!("sleep 60 & echo $! > {}; wait", pid_file.display());
        let invocation = shell(&script);
        let running = run(&invocation, |_| {}, LIMIT, &interrupt);
        let interrupting = async {
            while std::fs::read_to_string(&pid_file)
                .unwrap_or_default()
                .is_empty()
            {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            sender.send(true).expect("the run listens");
        };
        let (result, ()) = tokio::join!(running, interrupting);
        assert!(matches!(result, Err(ChildFault::Interrupted)));
        let pid = std::fs::read_to_string(&pid_file).unwrap();
        let lives = || {
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim()));
            stat.is_ok_and(|stat| !stat.contains(" Z "))
        };
        // A signal takes a moment.
        for _ in 0..500 {
            if !lives() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the child of the program lives on");
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_flood_of_stderr_is_cut_to_its_end() {
        let script = "yes flood | head -c 300000 >&2; echo last >&2";
        let finished = run_shell(script, LIMIT).await.expect("sh is there");
        assert!(finished.stderr.ends_with("last\n"));
        assert_eq!(finished.stderr.len(), STDERR_TAIL_BYTES);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_child_that_keeps_the_pipes_open_is_not_waited_for() {
        let started = std::time::Instant::now();
        let script = "sleep 60 & echo $!; echo x >&2";
        let finished = run_shell(script, LIMIT).await.expect("sh is there");
        assert!(started.elapsed() < Duration::from_secs(30));
        let sleeper: i32 = finished.stdout.trim().parse().expect("a process ID");
        assert_eq!(
            (finished.exit, finished.stderr.as_str()),
            (Exit::Code(0), "x\n")
        );
        let sleeper = Pid::from_raw(sleeper).expect("no zero");
        rustix::process::kill_process(sleeper, Signal::KILL).expect("it sleeps");
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_program_that_closes_its_pipes_and_hangs_is_stalled() {
        let script = "exec >&- 2>&-; sleep 60";
        let stalled = run_shell(script, Duration::from_secs(1)).await;
        assert!(
            matches!(stalled, Err(ChildFault::Stalled(_))),
            "{stalled:?}"
        );
    }
}
