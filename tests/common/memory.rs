//! What a process has in memory, where the system tells (proc(5), status).

/// Bytes that are in memory now.
pub fn resident(process: u32) -> Option<usize> {
    of(process, "VmRSS:")
}

/// The most bytes that have been in memory, since the start or since that was last forgotten.
pub fn most_resident(process: u32) -> Option<usize> {
    of(process, "VmHWM:")
}

fn of(process: u32, name: &str) -> Option<usize> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix(" kB")?.parse::<usize>().ok().map(|kibibytes| kibibytes * 1024)
}
