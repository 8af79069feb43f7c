//! What a worker process gives up before it sees a stranger's file: descriptors that are none of
//! its business, memory and CPU time beyond the limits, the file system, the network, and every
//! system call that decoding and encoding need not.
//!
//! Limits hold on every kernel. The filter and Landlock hold where the kernel has them.

use std::{collections::BTreeMap, io};

use landlock::{ABI, Access as _, AccessFs, AccessNet, RulesetAttr as _, RulesetStatus, Scope};
use rustix::process::{Resource, Rlimit, Signal, set_parent_process_death_signal, setrlimit};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};

use super::{
    bounds::A_CORE,
    wire::{Hello, MAX_HANDED, Ready},
};

/// Descriptors that a process has open, at most: its own three, and a request's.
const MAX_FILES: u64 = 3 + MAX_HANDED as u64 + 16;

/// Closes all descriptors but standard input, output and error: what the parent's parent forgot
/// to close would be in reach.
pub(super) fn close_others() -> io::Result<()> {
    // SAFETY: called first of all, when nothing in this process has a descriptor of its own yet,
    // so none is closed under anybody. The call reads no memory.
    #[expect(
        unsafe_code,
        reason = "no safe wrapper can know that nobody owns the descriptors"
    )]
    let closed = unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, 0) };
    match closed {
        0 => Ok(()),
        _ => match io::Error::last_os_error() {
            // Before Linux 5.9.
            error if error.raw_os_error() == Some(libc::ENOSYS) => Ok(()),
            error => Err(error),
        },
    }
}

/// Gives up everything, and says what could be given up.
///
/// # Errors
/// Where a limit can't be set.
pub(super) fn confine(hello: &Hello) -> io::Result<Ready> {
    // Nobody would wait for what an orphan does.
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
    limit(Resource::As, hello.bounds.memory + cores * A_CORE)?;
    limit(Resource::Cpu, hello.cpu.as_secs())?;
    limit(Resource::Nofile, MAX_FILES)?;
    limit(Resource::Core, 0)?;
    let landlock = forget_files();
    let seccomp = filter_calls();
    Ok(Ready { seccomp, landlock })
}

/// Sets a limit, or leaves a lower one that was there.
fn limit(resource: Resource, value: u64) -> io::Result<()> {
    let there = rustix::process::getrlimit(resource).maximum;
    let value = there.map_or(value, |there| value.min(there));
    let limit = Rlimit {
        current: Some(value),
        // A second later than the soft limit, whose signal tells what happened.
        maximum: Some(match resource {
            Resource::Cpu => there.map_or(value + 1, |there| there.min(value + 1)),
            _ => value,
        }),
    };
    Ok(setrlimit(resource, limit)?)
}

/// No file, no directory, no TCP port, no abstract socket can be opened any more.
fn forget_files() -> bool {
    let abi = ABI::V6;
    let ruleset = landlock::Ruleset::default()
        .handle_access(AccessFs::from_all(abi))
        .and_then(|r| r.handle_access(AccessNet::from_all(abi)))
        .and_then(|r| r.scope(Scope::from_all(abi)))
        .and_then(|r| r.create())
        .and_then(landlock::RulesetCreated::restrict_self);
    ruleset.is_ok_and(|status| status.ruleset != RulesetStatus::NotEnforced)
}

/// Calls that no decoder makes by mistake: whoever makes one is not a decoder any more.
const DEADLY: &[i64] = &[
    libc::SYS_socket,
    libc::SYS_socketpair,
    libc::SYS_connect,
    libc::SYS_bind,
    libc::SYS_listen,
    libc::SYS_accept,
    libc::SYS_accept4,
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_bpf,
    libc::SYS_io_uring_setup,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_mount,
    libc::SYS_keyctl,
    libc::SYS_perf_event_open,
    libc::SYS_init_module,
    libc::SYS_finit_module,
];

/// Calls that decoding, encoding, threads, memory and the socket need.
const ALLOWED: &[i64] = &[
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_pread64,
    libc::SYS_preadv,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_pwrite64,
    libc::SYS_lseek,
    libc::SYS_close,
    libc::SYS_fstat,
    libc::SYS_statx,
    libc::SYS_fcntl,
    libc::SYS_dup,
    libc::SYS_sendto,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_ppoll,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_brk,
    libc::SYS_futex,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_membarrier,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_yield,
    libc::SYS_sigaltstack,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_restart_syscall,
    libc::SYS_gettid,
    libc::SYS_getpid,
    libc::SYS_tgkill,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_getrandom,
    libc::SYS_getrusage,
];

/// Filters system calls of this thread and of all that it starts. Whatever is neither allowed nor
/// deadly answers that the kernel lacks it, which libraries are used to.
fn filter_calls() -> bool {
    let install = || -> Result<(), Box<dyn std::error::Error>> {
        let deadly = DEADLY.iter().map(|call| (*call, Vec::new())).collect();
        apply(deadly, SeccompAction::Allow, SeccompAction::KillProcess)?;
        let unknown = SeccompAction::Errno(libc::ENOSYS as u32);
        apply(allowed()?, unknown, SeccompAction::Allow)
    };
    install().is_ok()
}

fn apply(
    rules: BTreeMap<i64, Vec<SeccompRule>>,
    otherwise: SeccompAction,
    matched: SeccompAction,
) -> Result<(), Box<dyn std::error::Error>> {
    let arch = TargetArch::try_from(std::env::consts::ARCH)?;
    let filter = SeccompFilter::new(rules, otherwise, matched, arch)?;
    let program: BpfProgram = filter.try_into()?;
    Ok(seccompiler::apply_filter(&program)?)
}

fn allowed() -> Result<BTreeMap<i64, Vec<SeccompRule>>, seccompiler::BackendError> {
    let mut rules: BTreeMap<_, _> = ALLOWED.iter().map(|call| (*call, Vec::new())).collect();
    let masked = |argument, mask: i64, value: i64| {
        let op = SeccompCmpOp::MaskedEq(mask as u64);
        let condition = SeccompCondition::new(argument, SeccompCmpArgLen::Qword, op, value as u64)?;
        SeccompRule::new(vec![condition])
    };
    // Threads, no processes; clone3 hides its flags in memory, and libraries do without it.
    let thread = i64::from(libc::CLONE_THREAD);
    rules.insert(libc::SYS_clone, vec![masked(0, thread, thread)?]);
    // Memory is never made executable.
    let executable = i64::from(libc::PROT_EXEC);
    rules.insert(libc::SYS_mmap, vec![masked(2, executable, 0)?]);
    rules.insert(libc::SYS_mprotect, vec![masked(2, executable, 0)?]);
    // Names of threads, and of mappings.
    let named = [libc::PR_SET_NAME, libc::PR_SET_VMA].map(i64::from);
    let named = named.map(|option| masked(0, i64::from(u32::MAX), option));
    rules.insert(
        libc::SYS_prctl,
        named.into_iter().collect::<Result<_, _>>()?,
    );
    Ok(rules)
}

#[cfg(test)]
mod tests {
    use std::{fs::File, io::ErrorKind, thread};

    use super::*;

    /// Landlock alone, which binds the thread that asks for it: the filter would refuse first.
    #[test]
    fn files_can_be_used_and_not_opened() {
        let here = std::env::temp_dir();
        let mut open = tempfile::tempfile().unwrap();
        let path = std::env::current_exe().unwrap();
        let confined = thread::spawn(move || {
            if !forget_files() {
                return false;
            }
            io::Write::write_all(&mut open, b"of before").unwrap();
            let refused = |error: io::Error| error.kind() == ErrorKind::PermissionDenied;
            assert!(File::open(&path).is_err_and(refused));
            assert!(std::fs::read_dir(&here).is_err_and(refused));
            assert!(File::create(here.join("segue-confined")).is_err_and(refused));
            true
        });
        if !confined.join().unwrap() {
            eprintln!("skipped: this kernel has no Landlock");
        }
        // The others go on as before.
        assert!(File::open(std::env::current_exe().unwrap()).is_ok());
    }
}
