//! Which of the adapters a `--device` means. It opens none.

use super::adapters::{Adapter, Api, Kind};

/// The GPU that `auto` takes, or why it takes the CPU. A software adapter does not count: the CPU engine is faster.
pub fn pick_auto(adapters: &[Adapter]) -> Result<&Adapter, String> {
    let gpus = || adapters.iter().filter(|adapter| adapter.is_gpu());
    gpus().find(|adapter| adapter.kind == Kind::Discrete).or_else(|| gpus().next()).ok_or_else(|| {
        match adapters.first() {
            Some(software) => {
                format!("no GPU here ({} is a software adapter, which is slower than the CPU engine)", software.name)
            }
            None => "no GPU here".to_string(),
        }
    })
}

/// The adapter of that number under an API; without one the first, GPUs before software.
pub(super) fn pick(adapters: &[Adapter], api: Api, index: Option<usize>) -> Option<&Adapter> {
    let mut those = adapters.iter().filter(|adapter| adapter.api == api);
    match index {
        Some(index) => those.nth(index),
        None => those.clone().find(|adapter| adapter.is_gpu()).or_else(|| those.next()),
    }
}

/// What is missing, in words.
pub(super) fn wanted(api: Api, index: Option<usize>) -> String {
    index.map_or_else(|| format!("{api} adapter"), |index| format!("{api} adapter number {index}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn adapter(name: &str, kind: Kind) -> Adapter {
        Adapter {
            name: name.to_string(),
            driver: String::new(),
            api: Api::Vulkan,
            kind,
            index: 0,
            has_f16: false,
            max_buffer_bytes: 0,
            slot: String::new(),
            handle: None,
        }
    }

    #[test]
    fn auto_takes_a_real_gpu_and_prefers_a_discrete_one() {
        let adapters =
            [adapter("llvmpipe", Kind::Software), adapter("Iris", Kind::Integrated), adapter("H100", Kind::Discrete)];
        assert_eq!(pick_auto(&adapters).unwrap().name, "H100");
        assert_eq!(pick_auto(&adapters[..2]).unwrap().name, "Iris");
    }

    #[test]
    fn auto_does_not_take_a_software_adapter_and_says_so() {
        let why = pick_auto(&[adapter("llvmpipe", Kind::Software)]).unwrap_err();
        assert!(why.contains("llvmpipe is a software adapter"), "{why}");
        assert_eq!(pick_auto(&[]).unwrap_err(), "no GPU here");
    }

    #[test]
    fn vulkan_accepts_a_software_adapter_where_there_is_no_gpu() {
        let adapters = [adapter("llvmpipe", Kind::Software), adapter("Iris", Kind::Integrated)];
        assert_eq!(pick(&adapters, Api::Vulkan, None).unwrap().name, "Iris");
        assert_eq!(pick(&adapters[..1], Api::Vulkan, None).unwrap().name, "llvmpipe");
        assert_eq!(pick(&adapters, Api::Vulkan, Some(0)).unwrap().name, "llvmpipe");
        assert!(pick(&adapters, Api::Vulkan, Some(2)).is_none());
    }
}
