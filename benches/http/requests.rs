//! The requests that are sent: one for each way in, and JPEG of three sizes.

use kiln_inference::model::Model;

use crate::client::{COUNTED, request};

/// Name, bytes, and the picture in it where it is to be compared.
pub fn requests(model: &Model) -> Vec<(String, Vec<u8>, Option<Vec<u8>>)> {
    let read = |path: &str| std::fs::read(path).expect("this runs in the project's folder");
    let mut all = Vec::new();
    for file in ["benches/http/cat_224x168.jpg", "tests/data/photos/cat_640x480.jpg", "benches/http/cat_1280x960.jpg"] {
        let size = file.rsplit(['_', '.']).nth(1).expect("a size in the name");
        let picture = read(file);
        let body = [&picture[..], &[0; COUNTED]].concat();
        all.push((format!("/predict/raw, JPEG {size}"), request("/predict/raw", "", &body), Some(picture)));
    }
    let picture = read("tests/data/photos/cat_640x480.jpg");
    let head = b"--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"cat.jpg\"\r\n\r\n";
    let form = [&head[..], &picture, b"\r\n--b--\r\n"].concat();
    let content = "Content-Type: multipart/form-data; boundary=b\r\n";
    all.push(("/predict, JPEG 640x480".to_string(), request("/predict", content, &form), Some(picture)));
    let spec = model.spec();
    let values = (3 * spec.width * spec.height) as usize;
    let infer = format!("/v2/models/{}/infer", spec.name);
    let header = |end: &str| {
        let shape = format!("[1,3,{},{}]", spec.height, spec.width);
        format!(r#"{{"inputs":[{{"name":"input","datatype":"FP32","shape":{shape},{end}}}]}}"#)
    };
    let json = header(&format!(r#""parameters":{{"binary_data_size":{}}}"#, values * 4));
    let binary = [json.as_bytes(), &vec![0; values * 4]].concat();
    let length = format!("Inference-Header-Content-Length: {}\r\n", json.len());
    all.push(("infer, FP32 binary".to_string(), request(&infer, &length, &binary), None));
    let texts: Vec<String> = (0..values).map(|i| format!("{:.4}", (i % 511) as f32 / 256.0 - 1.0)).collect();
    let json = header(&format!(r#""data":[{}]"#, texts.join(",")));
    all.push(("infer, FP32 JSON".to_string(), request(&infer, "", json.as_bytes()), None));
    all
}
