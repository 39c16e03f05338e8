//! The directory in which graphics drivers and Burn cache compiled kernels, so that the next start does not compile them
//! again.
//!
//! The graphics driver compiles WGSL and has its own cache, whose directory comes from an environment variable. Burn's other
//! compilers and its autotuning use the cache of CubeCL, whose configuration is fixed when the first device opens.

use std::path::Path;

/// The cache variables of Mesa, and of NVIDIA's Vulkan and CUDA drivers, each with its subdirectory.
const DRIVER_VARIABLES: [(&str, &str); 3] =
    [("MESA_SHADER_CACHE_DIR", "mesa"), ("__GL_SHADER_DISK_CACHE_PATH", "nvidia"), ("CUDA_CACHE_PATH", "cuda")];

/// Makes drivers and Burn cache compiled kernels below `directory`.
///
/// Call this at the start of the process. If the process already has other threads, the function does nothing. It does not
/// change a variable that is already set.
pub fn set_directory(directory: &Path) {
    if !is_single_threaded() {
        return;
    }
    for (variable, name) in DRIVER_VARIABLES {
        let path = directory.join(name);
        // A driver may disable its cache if the directory does not exist.
        if std::env::var_os(variable).is_none() && std::fs::create_dir_all(&path).is_ok() {
            // SAFETY: no other thread exists that could read the environment at the same time.
            unsafe { std::env::set_var(variable, path) };
        }
    }
    configure_burn(directory);
}

#[cfg(target_os = "linux")]
fn is_single_threaded() -> bool {
    std::fs::read_dir("/proc/self/task").is_ok_and(|threads| threads.count() == 1)
}

/// Other systems do not report their threads here, and drivers keep their default directories.
#[cfg(not(target_os = "linux"))]
fn is_single_threaded() -> bool {
    false
}

fn configure_burn(directory: &Path) {
    use burn_cubecl::cubecl::config::cache::CacheConfig;
    use burn_cubecl::cubecl::config::{CubeClRuntimeConfig, RuntimeConfig};

    let mut config = CubeClRuntimeConfig::default();
    config.environment.path = CacheConfig::Directory(directory.join("burn"));
    #[cfg(feature = "persistence")]
    {
        config.compilation.cache = true;
    }
    CubeClRuntimeConfig::set(config);
}
