//! The limits on open files and on threads.

use super::cgroup::{Cgroups, Usage};
use super::finding::Finding;
use crate::config::Config;

/// Threads of a server besides those of the async runtime, inference and decoding: logs, feedback, blocking tasks.
const OTHER_THREADS: u64 = 32;

/// A limit of the kernel on a resource of a process or of its user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Limit {
    soft: u64,
    hard: u64,
}

/// Checks the limits. `versions` is the number of versions of models. Finds nothing where the system does not report the limits
/// as files.
pub(super) fn check(config: &Config, cgroups: &Cgroups, versions: usize) -> Vec<Finding> {
    let Ok(limits) = std::fs::read_to_string("/proc/self/limits") else { return Vec::new() };
    let needed = kiln_server::open_files_needed(config.server.max_connections);
    let files = limit(&limits, "Max open files").map(|limit| open_files(limit, needed, config.server.max_connections));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = threads_needed(cores, versions, config.inference.threads, config.decode_threads);
    let user = limit(&limits, "Max processes").and_then(|limit| Some((limit, user_threads()?)));
    files.into_iter().chain([tasks(threads, user, cgroups.tasks())]).collect()
}

/// Returns the number of threads of a server. On the CPU, each version has an engine with a thread of its own for each thread of
/// inference; all of them share one team of threads.
fn threads_needed(cores: usize, versions: usize, inference: usize, decoding: usize) -> u64 {
    (cores + (versions + 1) * inference + decoding) as u64 + OTHER_THREADS
}

/// Finds a limit in `/proc/self/limits` (proc(5)).
fn limit(text: &str, name: &str) -> Option<Limit> {
    let mut words = text.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace();
    let mut next = || match words.next()? {
        "unlimited" => Some(u64::MAX),
        number => number.parse().ok(),
    };
    Some(Limit { soft: next()?, hard: next()? })
}

/// Kiln raises the soft limit itself, so the hard limit counts.
fn open_files(limit: Limit, needed: u64, connections: usize) -> Finding {
    let detail = format!("{} allowed, {needed} needed for --max-connections {connections}", shown(limit.hard));
    match limit.hard < needed {
        true => Finding::warning(
            "open files",
            format!("{detail}; further connections wait until others close"),
            format!(
                "ulimit -Hn {needed}, LimitNOFILE={needed} of systemd or docker run --ulimit nofile={needed}; or lower \
                 --max-connections"
            ),
        ),
        false => Finding::ok("open files", detail),
    }
}

/// Compares the threads of a server with what the limit of the user and that of the control group leave. `user` is the limit
/// and the number of threads that count against it; the kernel does not apply it to root.
fn tasks(needed: u64, user: Option<(Limit, UserThreads)>, group: Option<Usage>) -> Finding {
    let user = user.filter(|(_, threads)| !threads.is_root).map(|(limit, threads)| (limit, threads.count));
    let left_to_user = user.map(|(limit, count)| Usage { limit: limit.soft, used: count }.left());
    let left_to_group = group.map(Usage::left);
    let left = left_to_user.into_iter().chain(left_to_group).min();
    let detail = left.map_or_else(|| "no limit".to_string(), |left| format!("{} left", shown(left)));
    let detail = format!("{detail}, about {needed} needed by a server");
    if left_to_group.is_some_and(|left| left < needed) {
        let fix =
            "raise the limit on processes of the container or service: docker run --pids-limit, TasksMax= of systemd";
        return Finding::problem("threads left", detail, fix);
    }
    if let Some((limit, count)) = user.filter(|_| left_to_user.is_some_and(|left| left < needed)) {
        return Finding::problem("threads left", detail, user_fix(limit, count + needed));
    }
    Finding::ok("threads left", detail)
}

/// Returns the fix for a limit of the user on threads. Only root can raise the hard limit.
fn user_fix(limit: Limit, wanted: u64) -> String {
    let nproc = format!("LimitNPROC={wanted} of systemd");
    match wanted <= limit.hard {
        true => format!("ulimit -u {wanted}, or {nproc}"),
        false => format!("{nproc}, or 'nproc' of this user in /etc/security/limits.conf"),
    }
}

fn shown(limit: u64) -> String {
    if limit == u64::MAX { "unlimited".to_string() } else { limit.to_string() }
}

/// The threads of the user of this process, over all its processes.
#[derive(Clone, Copy, Debug)]
struct UserThreads {
    count: u64,
    is_root: bool,
}

fn user_threads() -> Option<UserThreads> {
    let own = field(&std::fs::read_to_string("/proc/self/status").ok()?, "Uid:")?;
    let processes = std::fs::read_dir("/proc").ok()?.filter_map(Result::ok);
    let status = processes.filter_map(|process| std::fs::read_to_string(process.path().join("status")).ok());
    let count =
        status.filter(|text| field(text, "Uid:") == Some(own)).filter_map(|text| field(&text, "Threads:")).sum();
    Some(UserThreads { count, is_root: own == 0 })
}

/// Returns the first number of a field of `/proc/PID/status`.
fn field(status: &str, name: &str) -> Option<u64> {
    status.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::super::finding::State;
    use super::*;

    const LIMITS: &str = "\
Limit                     Soft Limit           Hard Limit           Units
Max cpu time              unlimited            unlimited            seconds
Max processes             127357               unlimited            processes
Max open files            1024                 524288               files
";

    #[test]
    fn limits_and_status_are_parsed() {
        assert_eq!(limit(LIMITS, "Max open files"), Some(Limit { soft: 1024, hard: 524_288 }));
        assert_eq!(limit(LIMITS, "Max processes"), Some(Limit { soft: 127_357, hard: u64::MAX }));
        assert_eq!(limit(LIMITS, "Max file locks"), None);
        let status = "Name:\tkiln\nUid:\t1000\t1001\t1000\t1000\nThreads:\t17\n";
        assert_eq!((field(status, "Uid:"), field(status, "Threads:")), (Some(1000), Some(17)));
    }

    #[test]
    fn hard_limit_on_open_files_must_suffice_for_the_connections() {
        assert_eq!(open_files(Limit { soft: 1024, hard: 4352 }, 4352, 4096).state, State::Ok);
        let finding = open_files(Limit { soft: 1024, hard: 1024 }, 4352, 4096);
        assert_eq!(finding.state, State::Warning);
        assert!(finding.detail.ends_with("further connections wait until others close"), "{}", finding.detail);
        assert!(finding.fix.unwrap().starts_with("ulimit -Hn 4352"));
    }

    #[test]
    fn each_version_needs_threads_for_its_engines() {
        assert_eq!(threads_needed(8, 1, 4, 8), 8 + 2 * 4 + 8 + 32);
        assert_eq!(threads_needed(8, 3, 4, 8), 8 + 4 * 4 + 8 + 32);
    }

    #[test]
    fn threads_must_fit_into_the_limits_of_the_user_and_of_the_group() {
        let limit = |soft| Limit { soft, hard: 1000 };
        let user = |soft, count| Some((limit(soft), UserThreads { count, is_root: false }));
        assert_eq!(tasks(50, user(1000, 100), None).state, State::Ok);
        let finding = tasks(50, user(120, 100), None);
        assert_eq!((finding.state, finding.detail.as_str()), (State::Problem, "20 left, about 50 needed by a server"));
        assert!(finding.fix.unwrap().starts_with("ulimit -u 150"));
        let beyond_the_hard_limit = tasks(950, user(120, 100), None).fix.unwrap();
        assert!(beyond_the_hard_limit.starts_with("LimitNPROC=1050 of systemd"), "{beyond_the_hard_limit}");
        let root = Some((limit(120), UserThreads { count: 100, is_root: true }));
        assert_eq!(tasks(50, root, None).state, State::Ok);
        let finding = tasks(50, user(1000, 100), Some(Usage { limit: 64, used: 60 }));
        assert_eq!(finding.state, State::Problem);
        assert!(finding.fix.unwrap().contains("--pids-limit"));
        assert!(tasks(50, user(u64::MAX, 100), None).detail.ends_with("about 50 needed by a server"));
    }
}
