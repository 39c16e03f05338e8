//! Drives the real binary over HTTP and by its commands. Most tests start a server of their own on a free port.
#![forbid(unsafe_code)]

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/in_process.rs"]
mod in_process;

mod access;
mod commands;
mod connection_limits;
mod feedback;
mod feedback_loop;
mod finetune;
mod first_run;
#[cfg(target_os = "linux")]
mod hostile_input;
mod http_api;
mod import;
mod lifecycle;
mod logs;
mod model_reload;
mod model_repository;
mod model_tasks;
mod open_inference_protocol;
mod predict;
mod response_cache;
mod security_headers;
mod tls;
mod traces;
mod vulkan;
