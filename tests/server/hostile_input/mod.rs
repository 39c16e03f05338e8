//! Hostile images, forms and requests: each is rejected with the right error or accepted as what it is, within bounds on
//! processor time and memory. The tests share one server.

mod damaged_files;
mod decompression_bombs;
mod file_names;
mod gif;
mod harness;
mod jpeg;
mod multipart_forms;
mod png;
mod request_smuggling;
mod tiff;
mod unusual_images;
