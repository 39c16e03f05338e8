//! Where compilers keep what they have compiled, so that the next start need not compile it again. It keeps nothing
//! itself.
//!
//! WGSL is compiled by the graphics driver, which has a cache of its own and takes its place from an environment variable;
//! Burn's other compilers and its search for the quickest kernel keep what they find through CubeCL, whose settings are
//! locked when the first device is opened.

use std::path::Path;

/// Variables by which drivers are told where to keep compiled shaders: Mesa's, and NVIDIA's for Vulkan and for CUDA.
const DRIVER_VARIABLES: [(&str, &str); 3] =
    [("MESA_SHADER_CACHE_DIR", "mesa"), ("__GL_SHADER_DISK_CACHE_PATH", "nvidia"), ("CUDA_CACHE_PATH", "cuda")];

/// Has drivers and Burn keep what they compile below `folder`. To be called first of all, before there are other threads or
/// devices; later it does nothing. A variable that is set already is left alone.
pub fn keep_in(folder: &Path) {
    if !is_only_thread() {
        return;
    }
    for (variable, place) in DRIVER_VARIABLES {
        let place = folder.join(place);
        // A driver whose folder is missing may do without a cache.
        if std::env::var_os(variable).is_none() && std::fs::create_dir_all(&place).is_ok() {
            // SAFETY: no other thread reads the environment meanwhile, for there is none.
            unsafe { std::env::set_var(variable, place) };
        }
    }
    keep_burns_in(folder);
}

#[cfg(target_os = "linux")]
fn is_only_thread() -> bool {
    std::fs::read_dir("/proc/self/task").is_ok_and(|threads| threads.count() == 1)
}

/// Elsewhere nobody tells, and drivers keep their caches where they always do.
#[cfg(not(target_os = "linux"))]
fn is_only_thread() -> bool {
    false
}

fn keep_burns_in(folder: &Path) {
    use burn_cubecl::cubecl::config::cache::CacheConfig;
    use burn_cubecl::cubecl::config::{CubeClRuntimeConfig, RuntimeConfig};

    let mut config = CubeClRuntimeConfig::default();
    config.environment.path = CacheConfig::Directory(folder.join("burn"));
    #[cfg(feature = "persistence")]
    {
        config.compilation.cache = true;
    }
    CubeClRuntimeConfig::set(config);
}
