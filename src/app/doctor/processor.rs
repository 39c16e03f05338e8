//! CPU, instruction sets and threads.

use kiln_inference::{default_threads, instruction_set};

use super::cgroup::Cgroups;
use super::finding::Finding;
use crate::config::Config;

/// Checks the CPU and the threads that a server would use.
pub(super) fn check(config: &Config, cgroups: &Cgroups) -> Vec<Finding> {
    let usable = std::thread::available_parallelism().map_or(1, usize::from);
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let threads = Threads { inference: config.inference.threads, decoding: config.decode_threads, usable };
    vec![
        Finding::ok("cpu", describe(&cpu, usable)),
        kernels(instruction_set(), std::env::consts::ARCH),
        threads.finding(),
        quota(cgroups.cpus(), logical_cores(&cpu).unwrap_or(usable)),
    ]
}

fn describe(cpuinfo: &str, usable: usize) -> String {
    let model = model_name(cpuinfo).unwrap_or(std::env::consts::ARCH);
    let all = logical_cores(cpuinfo).unwrap_or(usable);
    let sets = instruction_sets().join(", ");
    let sets = if sets.is_empty() { "none that Kiln has kernels for" } else { &sets };
    format!("{model}; {usable} of {all} logical cores usable, {} physical; instruction sets: {sets}", default_threads())
}

/// Returns the product name of the CPU, which ARM systems do not report.
fn model_name(cpuinfo: &str) -> Option<&str> {
    cpuinfo.lines().find_map(|line| Some(line.strip_prefix("model name")?.split_once(':')?.1.trim()))
}

fn logical_cores(cpuinfo: &str) -> Option<usize> {
    let is_core = |line: &&str| line.strip_prefix("processor").is_some_and(|rest| rest.trim_start().starts_with(':'));
    Some(cpuinfo.lines().filter(is_core).count()).filter(|cores| *cores > 0)
}

/// Returns the instruction sets of this CPU that matter for inference.
#[cfg(target_arch = "x86_64")]
fn instruction_sets() -> Vec<&'static str> {
    let found = [
        ("AVX2", is_x86_feature_detected!("avx2")),
        ("FMA", is_x86_feature_detected!("fma")),
        ("AVX-VNNI", is_x86_feature_detected!("avxvnni")),
        ("AVX-512", is_x86_feature_detected!("avx512f")),
        ("AVX-512 VNNI", is_x86_feature_detected!("avx512vnni")),
        ("AVX-512 BF16", is_x86_feature_detected!("avx512bf16")),
    ];
    found.into_iter().filter(|(_, is_found)| *is_found).map(|(name, _)| name).collect()
}

/// Returns the instruction sets of this CPU that matter for inference.
#[cfg(target_arch = "aarch64")]
fn instruction_sets() -> Vec<&'static str> {
    let found = [
        ("NEON", std::arch::is_aarch64_feature_detected!("neon")),
        ("dot product", std::arch::is_aarch64_feature_detected!("dotprod")),
        ("BF16", std::arch::is_aarch64_feature_detected!("bf16")),
    ];
    found.into_iter().filter(|(_, is_found)| *is_found).map(|(name, _)| name).collect()
}

/// Returns the instruction sets of this CPU that matter for inference.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn instruction_sets() -> Vec<&'static str> {
    Vec::new()
}

fn kernels(instruction_set: &str, architecture: &str) -> Finding {
    match (instruction_set, architecture) {
        ("portable", "x86_64") => Finding::warning(
            "kernels",
            "portable: this CPU has no AVX2 and FMA, so inference on it is several times slower",
            "use a machine with AVX2; a virtual machine needs a CPU model that has it (QEMU: -cpu host)",
        ),
        _ => Finding::ok("kernels", format!("{instruction_set} on the CPU")),
    }
}

/// The configured numbers of threads, and the logical cores that the process may use.
struct Threads {
    inference: usize,
    decoding: usize,
    usable: usize,
}

impl Threads {
    fn finding(&self) -> Finding {
        let Self { inference, decoding, usable } = self;
        let detail = format!("{inference} for inference on the CPU, {decoding} for decoding");
        match inference > usable {
            true => Finding::warning(
                "threads",
                format!("{detail}; only {usable} cores are usable, and more threads than cores are slower"),
                format!("--threads {usable}"),
            ),
            false => Finding::ok("threads", detail),
        }
    }
}

fn quota(cpus: Option<f64>, cores: usize) -> Finding {
    match cpus {
        Some(cpus) if cpus < 1.0 => Finding::warning(
            "cpu quota",
            format!(
                "the control group allows {cpus:.2} of {cores} CPUs, so every request pauses while the quota is used up"
            ),
            "raise the limit to 1 CPU or more: docker run --cpus, resources.limits.cpu of Kubernetes, CPUQuota= of systemd",
        ),
        Some(cpus) if cpus < cores as f64 => {
            Finding::ok("cpu quota", format!("the control group allows {cpus} of {cores} CPUs"))
        }
        _ => Finding::ok("cpu quota", "none"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::State;
    use super::*;

    const CPUINFO: &str = "processor\t: 0\nmodel name\t: AMD EPYC 9554 64-Core Processor\ncpu cores\t: 2\n\n\
                           processor\t: 1\nmodel name\t: AMD EPYC 9554 64-Core Processor\n";

    #[test]
    fn cpu_is_described_by_model_and_cores() {
        assert_eq!(model_name(CPUINFO), Some("AMD EPYC 9554 64-Core Processor"));
        assert_eq!((logical_cores(CPUINFO), logical_cores("")), (Some(2), None));
        let text = describe(CPUINFO, 1);
        assert!(text.starts_with("AMD EPYC 9554 64-Core Processor; 1 of 2 logical cores usable"), "{text}");
    }

    #[test]
    fn portable_kernels_are_a_warning_where_faster_ones_exist() {
        assert_eq!(kernels("portable", "x86_64").state, State::Warning);
        assert_eq!(kernels("avx2", "x86_64").state, State::Ok);
        assert_eq!(kernels("portable", "riscv64").state, State::Ok);
    }

    #[test]
    fn more_threads_than_cores_are_a_warning_with_the_right_number() {
        let finding = |inference| Threads { inference, decoding: 2, usable: 2 }.finding();
        assert_eq!(finding(2).state, State::Ok);
        assert_eq!((finding(3).state, finding(3).fix.as_deref()), (State::Warning, Some("--threads 2")));
    }

    #[test]
    fn quota_is_shown_if_it_is_lower_than_the_cores() {
        assert_eq!(quota(Some(1.5), 8).detail, "the control group allows 1.5 of 8 CPUs");
        assert_eq!(quota(Some(8.0), 8).detail, "none");
        assert_eq!(quota(None, 8).detail, "none");
        assert_eq!(quota(Some(0.5), 8).state, State::Warning);
    }
}
