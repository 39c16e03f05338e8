//! A picture's way into the page, and its answer on it.

use std::collections::BTreeSet;

use base64::Engine as _;
use serde_json::{Value, json};

use crate::common::{KEY, bytes};
use crate::{CAT, answered, assert_quiet, choose, classify, opened, text, type_key};

#[test]
fn a_picture_makes_five_bars_and_shows_where_the_time_went() {
    let Some((browser, server)) = opened(&[]) else { return };
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
        let told = row[1].as_str().unwrap().strip_suffix(" %").unwrap().trim_start_matches("< ");
        assert!((told.parse::<f64>().unwrap() / 100.0 - probability).abs() < 0.001, "{row} for {probability}");
    }
    // Bars grow into place, so their lengths are those of their styles.
    let widths = "return [...document.querySelectorAll('.bar i')].map(part => part.style.width).join()";
    let first = browser.run(widths, &[]).split('%').next().unwrap().parse::<f64>().unwrap() / 100.0;
    assert!((first - expected["predictions"][0]["probability"].as_f64().unwrap()).abs() < 0.001, "{first}");

    // Whatever phases the server tells of, in the order in which they happen.
    let phases = browser.evaluate(
        "return [...document.querySelectorAll('#phases tr')].map(row => [...row.cells].map(cell => cell.innerText.trim()))",
        &json!([]),
    );
    let phases: Vec<&Value> = phases.as_array().unwrap().iter().filter(|phase| phase[0] != "other").collect();
    let timings = expected["timings_ms"].as_object().unwrap();
    let told: BTreeSet<String> = timings.keys().filter(|name| *name != "total").map(|n| n.replace('_', " ")).collect();
    assert_eq!(phases.iter().map(|phase| phase[0].as_str().unwrap().to_string()).collect::<BTreeSet<_>>(), told);
    let order = ["receive", "decode wait", "decode", "preprocess", "queue", "batch wait", "device", "postprocess"];
    assert_eq!(phases.iter().map(|phase| phase[0].as_str().unwrap()).collect::<Vec<_>>(), order);
    let total: f64 = text(&browser, "total").parse().unwrap();
    let sum: f64 = phases.iter().map(|phase| phase[1].as_str().unwrap().parse::<f64>().unwrap()).sum();
    assert!(sum > 0.0 && sum <= total + 0.1, "{phases:?} of {total}");
    let parts = browser.evaluate("return document.getElementById('stack').childElementCount", &json!([]));
    assert!(parts.as_u64().unwrap() >= told.len() as u64);

    // By its id a person finds the request in the log.
    let id = browser.text("//*[@id='facts']//code");
    assert_eq!(id.len(), 36, "{id:?}");
    let logged = server.logged();
    assert!(logged.iter().any(|line| line.contains(&id) && line.contains("predict_raw")), "{id} in {logged:#?}");
    assert!(text(&browser, "facts").contains("JPEG, 640 × 480"));
    let drawn = "const canvas = document.getElementById('preview');
        const middle = canvas.getContext('2d').getImageData(canvas.width / 2, canvas.height / 2, 1, 1).data;
        return `${canvas.hidden} ${canvas.width}x${canvas.height} ${middle[3]}`";
    assert_eq!(browser.run(drawn, &[]), "false 640x480 255");
    assert_quiet(&browser);
}

/// Makes a `DataTransfer` with the file of the arguments, as `transfer`.
const TRANSFER: &str = "const bytes = Uint8Array.from(atob(arguments[0]), letter => letter.charCodeAt(0));
    const transfer = new DataTransfer();
    transfer.items.add(new File([bytes], arguments[1], {type: 'image/jpeg'}));";

#[test]
fn a_picture_can_be_dropped_anywhere_and_pasted() {
    let Some((browser, _server)) = opened(&[]) else { return };
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
    // The browser itself would have left the page for the picture.
    assert_eq!(browser.run(&drop, &[&encoded(CAT), "dropped.jpg"]), "false,true,false,false");
    answered(&browser, "Egyptian cat");
    assert!(text(&browser, "drop").starts_with("dropped.jpg"), "{}", text(&browser, "drop"));

    let paste = format!(
        "{TRANSFER}
         document.body.dispatchEvent(new ClipboardEvent('paste', {{clipboardData: transfer, bubbles: true}}))"
    );
    browser.run(&paste, &[&encoded("photos/coffee_640x480.jpg"), "pasted.jpg"]);
    answered(&browser, "espresso");
    assert!(text(&browser, "drop").starts_with("pasted.jpg"));
    assert_quiet(&browser);
}

#[test]
fn the_same_picture_can_be_sent_again_and_other_formats_need_no_preview() {
    let Some((browser, server)) = opened(&["--formats", "tiff,jpg"]) else { return };
    classify(&browser);
    let first = browser.text("//*[@id='facts']//code");
    browser.click("//button[@id='again']");
    browser.find(&format!("//*[@id='facts']//code[. != '{first}']"));
    // No browser draws these.
    choose(&browser, "variants/cat.tiff");
    browser.find("//*[@id='facts'][contains(., 'TIFF')]");
    assert_eq!(browser.run("return String(document.getElementById('preview').hidden)", &[]), "true");
    assert_eq!(server.metric("kiln_requests_total", &["operation=\"predict_raw\",status=\"200\""]), 3.0);
}
