//! Memory: what is free, and what the models and the configured limits may take.

use bytesize::ByteSize;

use super::cgroup::{Cgroups, Usage};
use super::finding::Finding;
use crate::config::Config;

/// The memory of the machine, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Machine {
    total: u64,
    available: u64,
}

/// What a server may need, in bytes.
#[derive(Clone, Copy, Debug, Default)]
struct Demand {
    /// Weights of the models.
    models: u64,
    /// `--max-decoded-bytes`.
    decoded: u64,
    /// `--max-inflight-body-bytes`.
    bodies: u64,
    /// `--cache-bytes`.
    cache: u64,
}

/// Checks the free memory. `models` is the size of the weights. Finds nothing where the system does not report its memory.
pub(super) fn check(config: &Config, cgroups: &Cgroups, models: u64) -> Vec<Finding> {
    let machine = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| machine(&text));
    let demand = Demand {
        models,
        decoded: config.image.decode_budget.capacity(),
        bodies: config.api.max_inflight_body_bytes as u64,
        cache: config.response_cache_bytes,
    };
    machine.map(|machine| assess(machine, cgroups.memory(), demand)).into_iter().collect()
}

/// Parses `/proc/meminfo`.
fn machine(meminfo: &str) -> Option<Machine> {
    let field = |name: &str| {
        let kibibytes = meminfo.lines().find_map(|line| line.strip_prefix(name))?.trim().strip_suffix(" kB")?;
        kibibytes.parse::<u64>().ok().map(|kibibytes| kibibytes * 1024)
    };
    Some(Machine { total: field("MemTotal:")?, available: field("MemAvailable:")? })
}

fn assess(machine: Machine, group: Option<Usage>, demand: Demand) -> Finding {
    let free = group.map_or(machine.available, |group| machine.available.min(group.left()));
    let Demand { models, decoded, bodies, cache } = demand;
    let limit = group.map_or_else(String::new, |group| {
        format!(", the control group allows {} and uses {}", ByteSize(group.limit), ByteSize(group.used))
    });
    let detail = format!(
        "{} of {} available{limit}; weights of the models {}, decoded images up to {}, request bodies up to {}, response \
         cache up to {}",
        ByteSize(machine.available),
        ByteSize(machine.total),
        ByteSize(models),
        ByteSize(decoded),
        ByteSize(bodies),
        ByteSize(cache),
    );
    let is_group_tighter = group.is_some_and(|group| group.left() < machine.available);
    let raise =
        if is_group_tighter { "raise the memory limit of the container" } else { "use a machine with more memory" };
    match models.saturating_add(decoded).saturating_add(bodies).saturating_add(cache) {
        _ if models > free => Finding::problem("memory", detail, format!("serve fewer models, or {raise}")),
        sum if sum > free => Finding::warning(
            "memory",
            format!("{detail}; together that is more than is free"),
            format!("lower --max-decoded-bytes, --max-inflight-body-bytes or --cache-bytes, or {raise}"),
        ),
        _ => Finding::ok("memory", detail),
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::State;
    use super::*;

    const GIB: u64 = 1 << 30;
    const MACHINE: Machine = Machine { total: 16 * GIB, available: 8 * GIB };

    #[test]
    fn meminfo_is_parsed() {
        let text = "MemTotal:       16777216 kB\nMemFree:          123456 kB\nMemAvailable:    8388608 kB\n";
        assert_eq!(machine(text), Some(MACHINE));
        assert_eq!(machine("MemTotal: many"), None);
    }

    #[test]
    fn limits_beyond_the_free_memory_are_a_warning_and_models_beyond_it_a_problem() {
        let demand = |models| Demand { models, decoded: GIB / 2, bodies: GIB / 4, cache: 0 };
        assert_eq!(assess(MACHINE, None, demand(GIB)).state, State::Ok);
        let warning = assess(MACHINE, None, demand(15 * GIB / 2));
        assert_eq!(warning.state, State::Warning);
        assert!(warning.fix.unwrap().contains("--max-decoded-bytes"));
        assert_eq!(assess(MACHINE, None, demand(9 * GIB)).state, State::Problem);
    }

    #[test]
    fn limit_of_the_control_group_counts_if_it_leaves_less() {
        let group = Some(Usage { limit: GIB, used: GIB / 2 });
        let finding = assess(MACHINE, group, Demand { decoded: GIB * 3 / 4, ..Demand::default() });
        assert_eq!(finding.state, State::Warning);
        assert!(finding.detail.contains("the control group allows 1.0 GiB and uses 512.0 MiB"), "{}", finding.detail);
        assert!(finding.fix.unwrap().ends_with("raise the memory limit of the container"));
        let wide = Some(Usage { limit: 64 * GIB, used: GIB });
        let finding = assess(MACHINE, wide, Demand { models: 9 * GIB, ..Demand::default() });
        assert!(finding.fix.unwrap().ends_with("use a machine with more memory"));
    }
}
