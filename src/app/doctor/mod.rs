//! `kiln doctor`: checks the machine and the settings as the operator of a new server needs it, and names the command or the
//! setting that fixes what is wrong. It changes nothing.
//!
//! Each module below checks one theme. It reads the state of the machine in its `check` and judges it in functions without
//! side effects.

mod access;
mod certificate;
mod cgroup;
mod finding;
mod folders;
mod gpu;
mod limits;
mod memory;
mod models;
mod port;
mod processor;
mod program;

pub use finding::DoctorReport;

use crate::config::Inspection;
use cgroup::Cgroups;

/// Runs all checks.
pub fn doctor(inspection: &Inspection) -> DoctorReport {
    let config = &inspection.config;
    let cgroups = Cgroups::of_this_process();
    let models = models::check(config);
    let findings = [
        program::check(inspection),
        processor::check(config, &cgroups),
        memory::check(config, &cgroups, models.bytes),
        gpu::check(config),
        limits::check(config, &cgroups, models.versions),
        port::check(config),
        folders::check(config),
        access::check(inspection),
        certificate::check(inspection),
        models.findings,
    ];
    DoctorReport::new(findings.concat())
}
