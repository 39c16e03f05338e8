//! Appearance in light and dark, on narrow and wide screens: no overflow, sufficient contrast, and reduced motion.

use serde_json::{Value, json};

use super::{CAT, assert_no_console_output_or_foreign_requests, choose, open, type_key, wait_for_prediction};
use crate::common::KEY;
use crate::driver::Browser;

/// Returns the lowest contrast ratio (WCAG 2.2) of any text to its background with the text, and of the borders of controls.
const CONTRAST: &str = "
    const parts = colour => {
        const [red, green, blue, alpha = 1] = colour.match(/[\\d.]+/g).map(Number);
        return {rgb: [red, green, blue], alpha};
    };
    const luminance = ({rgb}) => {
        const [red, green, blue] = rgb.map(value => value / 255)
            .map(value => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
    };
    const behind = element => {
        for (let at = element; at; at = at.parentElement) {
            const colour = parts(getComputedStyle(at).backgroundColor);
            if (colour.alpha === 1) return colour;
            if (colour.alpha > 0) throw new Error(`half of a background at ${at.id}`);
        }
        throw new Error('no background');
    };
    const ratio = (one, other) => {
        const [dark, light] = [luminance(one), luminance(other)].sort((a, b) => a - b);
        return (light + 0.05) / (dark + 0.05);
    };
    const all = [];
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) {
        const {parentElement: element, data} = texts.currentNode;
        if (!data.trim() || !element.checkVisibility() || element.tagName === 'SCRIPT') continue;
        all.push([ratio(parts(getComputedStyle(element).color), behind(element)), data.trim()]);
    }
    const borders = [...document.querySelectorAll('button, input')].filter(control => control.checkVisibility())
        .map(control => [ratio(parts(getComputedStyle(control).borderTopColor), behind(control.parentElement)), control.id]);
    const least = list => list.reduce((least, one) => one[0] < least[0] ? one : least);
    const tiles = [...document.querySelectorAll('.tiles > div')].map(tile => tile.getBoundingClientRect().width);
    return {narrowest: Math.min(...tiles), texts: all.length, text: least(all), border: least(borders), paper: luminance(behind(document.body))}";

fn emulate(browser: &Browser, scheme: &str, width: u32) {
    let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
    browser.devtools("Emulation.setEmulatedMedia", &json!({"features": features}));
    let screen = json!({"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": false});
    browser.devtools("Emulation.setDeviceMetricsOverride", &screen);
}

/// Asserts contrast and layout of the current page in both colour schemes and at four widths.
fn assert_readable(browser: &Browser, state: &str) {
    for scheme in ["light", "dark"] {
        // A width of 320 corresponds to 1280 at a zoom of 400 %.
        for width in [320, 360, 768, 1280] {
            emulate(browser, scheme, width);
            let at = format!("{state}, {scheme}, {width}");
            let overflow = "return document.documentElement.scrollWidth - innerWidth";
            assert!(
                browser.evaluate(overflow, &json!([])).as_i64().unwrap() <= 0,
                "{at}: the page is wider than the screen"
            );
            let found = browser.evaluate(CONTRAST, &json!([]));
            let ratio = |of: &Value| of[0].as_f64().unwrap();
            assert!(found["texts"].as_u64().unwrap() > 25, "{at}: {found}");
            assert!(found["narrowest"].as_f64().unwrap() > 120.0, "{at}: tiles of {}", found["narrowest"]);
            assert!(ratio(&found["text"]) >= 4.5, "{at}: {}", found["text"]);
            assert!(ratio(&found["border"]) >= 3.0, "{at}: {}", found["border"]);
            assert_eq!(found["paper"].as_f64().unwrap() > 0.5, scheme == "light", "{at}: {}", found["paper"]);
        }
    }
}

#[test]
fn page_is_readable_in_both_schemes_and_at_all_widths() {
    let Some((browser, _server)) = open(&[]) else { return };
    browser.find("//*[@id='rate']//b[.='0.0']");
    assert_readable(&browser, "without an image");
    type_key(&browser, KEY);
    choose(&browser, CAT);
    wait_for_prediction(&browser, "Egyptian cat");
    assert_readable(&browser, "with a prediction");
    assert_no_console_output_or_foreign_requests(&browser);
    browser.click("//button[@id='forget']");
    browser.click("//button[@id='again']");
    browser.find("//*[@id='error'][contains(., 'no key')]");
    assert_readable(&browser, "with an error");
}

/// Names of files, devices and classes may be long and without spaces.
#[test]
fn long_names_do_not_widen_the_page() {
    let Some((browser, _server)) = open(&[]) else { return };
    type_key(&browser, KEY);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(format!("{}.jpg", "long".repeat(50)));
    std::fs::copy(crate::common::data(CAT), &path).unwrap();
    browser.type_into("//input[@id='file']", path.to_str().unwrap());
    wait_for_prediction(&browser, "Egyptian cat");
    browser.evaluate(
        "for (const of of ['#device b', '#model b', '#classes .label', '#facts code'])
             document.querySelector(of).textContent = 'NVIDIA'.repeat(30)",
        &json!([]),
    );
    assert_readable(&browser, "with long names");
}

#[test]
fn reduced_motion_disables_transitions_and_animations() {
    let Some((browser, _server)) = open(&[]) else { return };
    type_key(&browser, KEY);
    choose(&browser, CAT);
    wait_for_prediction(&browser, "Egyptian cat");
    let moves = "return [...document.querySelectorAll('*')].map(element => getComputedStyle(element))
        .filter(({transitionDuration, animationName}) => transitionDuration !== '0s' || animationName !== 'none').length";
    for (motion, still) in [("no-preference", false), ("reduce", true)] {
        let features = json!([{"name": "prefers-reduced-motion", "value": motion}]);
        browser.devtools("Emulation.setEmulatedMedia", &json!({"features": features}));
        assert_eq!(browser.evaluate(moves, &json!([])) == 0, still, "{motion}");
    }
}
