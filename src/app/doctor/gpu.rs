//! GPUs, the Vulkan loader and its drivers, and the devices that `--device` selects.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use kiln_inference::adapters::{self, Adapter, Api};
use kiln_inference::{DeviceChoice, panic_message};

use super::super::load;
use super::super::tools::device_flags;
use super::finding::Finding;
use crate::config::Config;

/// Files that exist if the machine has a GPU and the kernel has a driver for it.
const GPU_FILES: [&str; 4] = ["/dev/dri/renderD128", "/dev/nvidiactl", "/dev/kfd", "/proc/driver/nvidia/version"];
/// Folders of the descriptions of Vulkan drivers.
const DRIVER_FOLDERS: [&str; 3] = ["/usr/share/vulkan/icd.d", "/usr/local/share/vulkan/icd.d", "/etc/vulkan/icd.d"];
/// Folders of libraries.
const LIBRARY_FOLDERS: [&str; 5] = ["/usr/lib", "/usr/lib64", "/usr/local/lib", "/lib", "/lib64"];

/// Checks adapters and devices.
pub(super) fn check(config: &Config) -> Vec<Finding> {
    // A broken driver may panic.
    let adapters = catch_unwind(adapters::enumerate).unwrap_or_default();
    let choices = config.inference.device.all();
    let mut findings = describe(&adapters);
    if cfg!(target_os = "linux") {
        let vulkan = Vulkan {
            has_adapter: adapters.iter().any(|adapter| adapter.api == Api::Vulkan),
            has_loader: has_loader(),
            has_driver: has_driver(),
            has_gpu: GPU_FILES.iter().any(|file| Path::new(file).exists()),
            is_wanted: choices.iter().any(|choice| matches!(choice, DeviceChoice::Vulkan(_))),
        };
        findings.push(vulkan.finding());
    }
    findings.extend(open_all(config, choices));
    findings
}

/// Lists the adapters as `kiln devices` does.
fn describe(adapters: &[Adapter]) -> Vec<Finding> {
    let described = device_flags(adapters).into_iter().zip(adapters).map(|(flag, adapter)| {
        let Adapter { name, driver, kind, .. } = adapter;
        Finding::ok("gpu", format!("{flag}: {name} ({driver}), {kind}, {}", adapter.precisions()))
    });
    let mut findings: Vec<Finding> = described.collect();
    if findings.is_empty() {
        findings.push(Finding::ok("gpu", "none found"));
    }
    findings
}

/// Opens the devices as a server would.
fn open_all(config: &Config, choices: &[DeviceChoice]) -> Vec<Finding> {
    let (mut findings, mut devices) = (Vec::new(), Vec::new());
    for choice in choices {
        // A broken driver may panic.
        let opened = catch_unwind(AssertUnwindSafe(|| load::open_device(config, choice)));
        let reason = match opened {
            Ok(Ok(device)) => {
                let detail = format!("--device {choice} selects {} ({})", device.info.name, device.reason);
                findings.push(Finding::ok("device", detail));
                devices.push(device);
                continue;
            }
            Ok(Err(error)) => error.to_string(),
            Err(panic) => format!("the driver of --device {choice} panicked: {}", panic_message(&*panic)),
        };
        let fix = "--device cpu, or one of those that 'kiln devices' lists";
        findings.push(Finding::problem("device", reason, fix));
    }
    if let Err(error) = load::check_distinct(&devices) {
        findings.push(Finding::problem("device", error.to_string(), "--device without the repeated one"));
    }
    findings
}

/// What a server needs to use a GPU through Vulkan, and whether it needs that.
#[derive(Clone, Copy, Debug)]
struct Vulkan {
    has_adapter: bool,
    has_loader: bool,
    has_driver: bool,
    has_gpu: bool,
    is_wanted: bool,
}

impl Vulkan {
    fn finding(self) -> Finding {
        let (missing, packages) = match self {
            Self { has_adapter: true, .. } => return Finding::ok("vulkan", "the loader and a driver are installed"),
            Self { has_loader: false, .. } => (
                "the loader (libvulkan.so.1) is not installed",
                "apt install libvulkan1 mesa-vulkan-drivers (Debian, Ubuntu) or dnf install vulkan-loader \
                 mesa-vulkan-drivers (Fedora)",
            ),
            Self { has_driver: false, .. } => (
                "the loader is installed, but no driver",
                "apt or dnf install mesa-vulkan-drivers; for NVIDIA the driver of the vendor, in a container with \
                 NVIDIA_DRIVER_CAPABILITIES=compute,graphics,utility",
            ),
            _ => (
                "the loader and a driver are installed, but the driver reports no device",
                "give this user access to the device: sudo usermod -aG render,video \"$(id -un)\", docker run --device \
                 /dev/dri or --gpus all",
            ),
        };
        match self.is_wanted || self.has_gpu {
            true => Finding::warning("vulkan", missing, packages),
            false => Finding::ok("vulkan", format!("{missing}; the CPU does not need it")),
        }
    }
}

fn has_loader() -> bool {
    let path = std::env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(LIBRARY_FOLDERS.map(PathBuf::from));
    // Debian has a folder for each architecture.
    let mut folders =
        folders.chain(entries(Path::new("/usr/lib")).filter(|path| path.to_string_lossy().ends_with("-linux-gnu")));
    folders.any(|folder| folder.join("libvulkan.so.1").exists())
}

fn has_driver() -> bool {
    let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let has_description =
        |folder: &&str| entries(Path::new(folder)).any(|path| path.extension().is_some_and(|end| end == "json"));
    is_set("VK_DRIVER_FILES") || is_set("VK_ICD_FILENAMES") || DRIVER_FOLDERS.iter().any(has_description)
}

fn entries(folder: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    std::fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok).map(|entry| entry.path())
}

#[cfg(test)]
mod tests {
    use super::super::finding::State;
    use super::*;
    use crate::config::Sources;

    const NOTHING: Vulkan =
        Vulkan { has_adapter: false, has_loader: false, has_driver: false, has_gpu: false, is_wanted: false };

    #[test]
    fn missing_vulkan_is_a_warning_if_there_is_a_gpu_or_it_is_requested() {
        assert_eq!(NOTHING.finding().state, State::Ok);
        for vulkan in [Vulkan { has_gpu: true, ..NOTHING }, Vulkan { is_wanted: true, ..NOTHING }] {
            let finding = vulkan.finding();
            assert_eq!(finding.state, State::Warning);
            let fix = finding.fix.unwrap();
            assert!(fix.contains("libvulkan1") && fix.contains("vulkan-loader"), "{fix}");
        }
        assert_eq!(Vulkan { has_adapter: true, has_gpu: true, ..NOTHING }.finding().state, State::Ok);
    }

    #[test]
    fn fix_depends_on_what_is_missing() {
        let gpu = Vulkan { has_gpu: true, has_loader: true, ..NOTHING };
        assert!(gpu.finding().fix.unwrap().starts_with("apt or dnf install mesa-vulkan-drivers"));
        let unreachable = Vulkan { has_driver: true, ..gpu };
        assert!(unreachable.finding().fix.unwrap().contains("render,video"));
    }

    #[test]
    fn device_that_is_given_twice_is_a_problem() {
        let flags = [("device", "cpu".to_string()), ("threads", "1".to_string())].into_iter().collect();
        let sources = Sources::gather(&flags, &|_: &str| None, None).unwrap();
        let config = Config::from_sources(&sources).unwrap();
        let states = |choices: &[DeviceChoice]| {
            open_all(&config, choices).iter().map(|finding| finding.state).collect::<Vec<_>>()
        };
        assert_eq!(states(&[DeviceChoice::Cpu]), [State::Ok]);
        assert_eq!(states(&[DeviceChoice::Cpu, DeviceChoice::Cpu]), [State::Ok, State::Ok, State::Problem]);
    }

    #[test]
    fn machine_without_adapters_has_one_finding() {
        assert_eq!(describe(&[]), [Finding::ok("gpu", "none found")]);
    }
}
