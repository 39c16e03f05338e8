//! Choosing, dropping and pasting an image, and the display of its prediction.

use std::collections::BTreeSet;

use base64::Engine as _;
use serde_json::{Value, json};

use super::{
    CAT, assert_no_console_output_or_foreign_requests, choose, classify, open, text, type_key, wait_for_prediction,
};
use crate::common::{KEY, bytes};

#[test]
fn prediction_shows_five_bars_phases_request_id_and_preview() {
    let Some((browser, server)) = open(&[]) else { return };
    classify(&browser);
    let rows = browser.evaluate(
        "return [...document.querySelectorAll('#classes > li')].map(row => {
             const [bar, part] = ['.bar', '.bar i'].map(name => row.querySelector(name).getBoundingClientRect().width);
             return [row.querySelector('.label').innerText, row.querySelector('.percent').innerText, part / bar];
         })",
        &json!([]),
    );
    let expected = server.raw("/predict/raw?top_k=5", &bytes(CAT)).json();
    let rows = rows.as_array().unwrap();
    assert_eq!(rows.len(), 5);
    for (row, class) in rows.iter().zip(expected["predictions"].as_array().unwrap()) {
        assert_eq!(row[0], class["label"]);
        let probability = class["probability"].as_f64().unwrap();
        let shown = row[1].as_str().unwrap().strip_suffix(" %").unwrap().trim_start_matches("< ");
        assert!((shown.parse::<f64>().unwrap() / 100.0 - probability).abs() < 0.001, "{row} for {probability}");
    }
    // Bars are animated, so the length is read from the style.
    let widths = "return [...document.querySelectorAll('.bar i')].map(part => part.style.width).join()";
    let first = browser.run(widths, &[]).split('%').next().unwrap().parse::<f64>().unwrap() / 100.0;
    assert!((first - expected["predictions"][0]["probability"].as_f64().unwrap()).abs() < 0.001, "{first}");

    // All phases of the response, in their order.
    let phases = browser.evaluate(
        "return [...document.querySelectorAll('#phases tr')].map(row => [...row.cells].map(cell => cell.innerText.trim()))",
        &json!([]),
    );
    let phases: Vec<&Value> = phases.as_array().unwrap().iter().filter(|phase| phase[0] != "other").collect();
    let timings = expected["timings_ms"].as_object().unwrap();
    let expected_phases: BTreeSet<String> =
        timings.keys().filter(|name| *name != "total").map(|n| n.replace('_', " ")).collect();
    assert_eq!(
        phases.iter().map(|phase| phase[0].as_str().unwrap().to_string()).collect::<BTreeSet<_>>(),
        expected_phases
    );
    let order = ["receive", "decode wait", "decode", "preprocess", "queue", "batch wait", "device", "postprocess"];
    assert_eq!(phases.iter().map(|phase| phase[0].as_str().unwrap()).collect::<Vec<_>>(), order);
    let total: f64 = text(&browser, "total").parse().unwrap();
    let sum: f64 = phases.iter().map(|phase| phase[1].as_str().unwrap().parse::<f64>().unwrap()).sum();
    assert!(sum > 0.0 && sum <= total + 0.1, "{phases:?} of {total}");
    let parts = browser.evaluate("return document.getElementById('stack').childElementCount", &json!([]));
    assert!(parts.as_u64().unwrap() >= expected_phases.len() as u64);

    // The shown request id is in the log.
    let id = browser.text("//*[@id='facts']//code");
    assert_eq!(id.len(), 36, "{id:?}");
    let logged = server.logged();
    assert!(logged.iter().any(|line| line.contains(&id) && line.contains("predict_raw")), "{id} in {logged:#?}");
    assert!(text(&browser, "facts").contains("JPEG, 640 × 480"));
    let drawn = "const canvas = document.getElementById('preview');
        const middle = canvas.getContext('2d').getImageData(canvas.width / 2, canvas.height / 2, 1, 1).data;
        return `${canvas.hidden} ${canvas.width}x${canvas.height} ${middle[3]}`";
    assert_eq!(browser.run(drawn, &[]), "false 640x480 255");
    assert_no_console_output_or_foreign_requests(&browser);
}

/// Makes a `DataTransfer` with the file of the arguments, as `transfer`.
const TRANSFER: &str = "const bytes = Uint8Array.from(atob(arguments[0]), letter => letter.charCodeAt(0));
    const transfer = new DataTransfer();
    transfer.items.add(new File([bytes], arguments[1], {type: 'image/jpeg'}));";

#[test]
fn image_can_be_dropped_anywhere_and_pasted() {
    let Some((browser, _server)) = open(&[]) else { return };
    type_key(&browser, KEY);
    let encoded = |file| base64::prelude::BASE64_STANDARD.encode(bytes(file));
    let drop = format!(
        "{TRANSFER}
         const event = name => new DragEvent(name, {{dataTransfer: transfer, bubbles: true, cancelable: true}});
         const zone = document.getElementById('drop');
         const marked = () => zone.classList.contains('over');
         const kept = [document.querySelector('h1').dispatchEvent(event('dragover')), marked()];
         kept.push(document.querySelector('h1').dispatchEvent(event('drop')), marked());
         return kept.join()"
    );
    // The events are cancelled: otherwise the browser would open the image instead of the page.
    assert_eq!(browser.run(&drop, &[&encoded(CAT), "dropped.jpg"]), "false,true,false,false");
    wait_for_prediction(&browser, "Egyptian cat");
    assert!(text(&browser, "drop").starts_with("dropped.jpg"), "{}", text(&browser, "drop"));

    let paste = format!(
        "{TRANSFER}
         document.body.dispatchEvent(new ClipboardEvent('paste', {{clipboardData: transfer, bubbles: true}}))"
    );
    browser.run(&paste, &[&encoded("photos/coffee_640x480.jpg"), "pasted.jpg"]);
    wait_for_prediction(&browser, "espresso");
    assert!(text(&browser, "drop").starts_with("pasted.jpg"));
    assert_no_console_output_or_foreign_requests(&browser);
}

#[test]
fn image_can_be_sent_again_and_tiff_has_no_preview() {
    let Some((browser, server)) = open(&["--formats", "tiff,jpg"]) else { return };
    classify(&browser);
    let first = browser.text("//*[@id='facts']//code");
    browser.click("//button[@id='again']");
    browser.find(&format!("//*[@id='facts']//code[. != '{first}']"));
    // Browsers do not display TIFF.
    choose(&browser, "variants/cat.tiff");
    browser.find("//*[@id='facts'][contains(., 'TIFF')]");
    assert_eq!(browser.run("return String(document.getElementById('preview').hidden)", &[]), "true");
    assert_eq!(server.metric("kiln_requests_total", &["operation=\"predict_raw\",status=\"200\""]), 3.0);
}
