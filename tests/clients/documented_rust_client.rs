use serde::Deserialize;

#[derive(Debug, Deserialize)]
pub struct Prediction {
    pub class_id: u32,
    pub label: String,
    pub probability: f32,
}

#[derive(Deserialize)]
struct Response {
    predictions: Vec<Prediction>,
}

pub fn classify(server: &str, key: &str, image: &[u8]) -> Result<Vec<Prediction>, ureq::Error> {
    let request = ureq::post(format!("{server}/predict/raw")).header("X-API-Key", key);
    let response: Response = request.send(image)?.body_mut().read_json()?;
    Ok(response.predictions)
}
