//! The page of `kokeshi cluster --html` in a real browser, where there is one.

use crate::Sandbox;
use serde_json::Value;
use std::process::{Command, Stdio};

/// Names of Chromium, in its packages.
const BROWSERS: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "chrome"];
const TEXTS: &str = "How do I charge the battery?\nThe battery is empty after an hour.\n\
    My battery does not hold a charge.\nWhere is my parcel?\nThe parcel is three days late.\n\
    When will my parcel arrive?\n<b>Where</b> is the parcel & its \"bill\"?\n</script><script>alert(1)\n";

/// A script that uses the page like a person and leaves its observations in an element.
const VISITOR: &str = r##"<pre id="seen" hidden></pre><script>
addEventListener("error", event => { document.title = event.message; });
const pixel = ([x, y]) => {
  const ratio = devicePixelRatio || 1;
  return [...pen.getImageData(Math.round(x * ratio), Math.round(y * ratio), 1, 1).data];
};
const paper = [...document.createElement("canvas").getContext("2d").getImageData(0, 0, 1, 1).data];
const at = (kind, [offsetX, offsetY]) => {
  const box = canvas.getBoundingClientRect();
  const [clientX, clientY] = [box.left + offsetX, box.top + offsetY];
  canvas.dispatchEvent(new PointerEvent(kind, { clientX, clientY, bubbles: true }));
};
{
  const seen = { title: document.title, rows: byId("legend").children.length, legend: byId("legend").innerText };
  seen.drawn = points.filter(point => String(pixel(toCanvas(point))) !== String(paper)).length;
  seen.inside = points.every(point => {
    const [x, y] = toCanvas(point);
    return x > 0 && y > 0 && x < canvas.clientWidth && y < canvas.clientHeight;
  });
  seen.tips = points.map(point => { at("pointermove", toCanvas(point)); return tip.hidden ? null : tip.innerText; });
  at("pointermove", [1, 1]);
  seen.away = tip.hidden;
  const colours = groups.map((_, group) => byId("legend").children[group].querySelector("i").style.background);
  seen.colours = new Set(colours).size;
  const faint = () => points.filter(point => pixel(toCanvas(point))[3] < 128).length;
  seen.faint = [faint()];
  byId("legend").children[0].click();
  seen.faint.push(faint());
  byId("legend").children[0].click();
  const search = document.querySelector("input");
  search.value = "BATTERY";
  search.dispatchEvent(new Event("input"));
  seen.faint.push(faint());
  const before = toCanvas(points[0]).join();
  canvas.dispatchEvent(new WheelEvent("wheel", { deltaY: -400, clientX: 300, clientY: 300, cancelable: true }));
  seen.zoomed = toCanvas(points[0]).join() !== before;
  at("dblclick", [1, 1]);
  seen.restored = toCanvas(points[0]).join() === before;
  seen.loaded = performance.getEntriesByType("resource").length;
  byId("seen").textContent = btoa(unescape(encodeURIComponent(JSON.stringify(seen))));
}
</script>"##;

fn browser() -> Option<&'static str> {
    let runs = |name: &&&str| {
        let silent = Stdio::null;
        let mut command = Command::new(name);
        command.arg("--version").stdout(silent()).stderr(silent());
        command.status().is_ok_and(|status| status.success())
    };
    BROWSERS.iter().find(runs).copied()
}

#[test]
fn the_page_draws_its_texts_and_describes_them() {
    let Some(browser) = browser() else {
        eprintln!("skipped: Chromium is not installed");
        return;
    };
    let sandbox = Sandbox::new();
    sandbox.write("texts.txt", TEXTS);
    let arguments = ["--input", "texts.txt", "--input-format", "lines", "-k", "2"];
    let run = sandbox.run(["cluster", "--json", "--html", "map.html"].iter().chain(&arguments));
    let groups = run.json()["groups"].clone();
    let page = std::fs::read_to_string(sandbox.path("map.html")).expect("the page");
    sandbox.write("map.html", page.replace("</body>", &format!("{VISITOR}</body>")));
    let seen = visit(browser, &sandbox);
    let texts: Vec<&str> = TEXTS.lines().collect();
    assert_eq!(seen["drawn"], texts.len(), "{seen}");
    assert_eq!((&seen["inside"], &seen["away"]), (&true.into(), &true.into()), "{seen}");
    let tips = seen["tips"].as_array().expect("tips");
    for (tip, text) in tips.iter().zip(&texts) {
        assert!(tip.as_str().is_some_and(|tip| tip.contains(text)), "{text}: {tip}");
    }
    assert!(tips[0].as_str().is_some_and(|tip| tip.contains("texts.txt, line 1 ·")), "{tips:?}");
    assert_eq!((&seen["rows"], &seen["colours"]), (&2.into(), &2.into()), "{seen}");
    for group in groups.as_array().expect("groups") {
        let name = group["name"].as_str().expect("a name");
        assert!(seen["legend"].as_str().is_some_and(|legend| legend.contains(name)), "{seen}");
    }
    let others = groups[1]["size"].as_u64().expect("a size") as usize;
    let silent = texts.iter().filter(|text| !text.contains("battery")).count();
    assert_eq!(seen["faint"], serde_json::json!([0, others, silent]), "{seen}");
    assert_eq!((&seen["zoomed"], &seen["restored"]), (&true.into(), &true.into()), "{seen}");
    assert_eq!(seen["loaded"], 0, "the page loads something");
}

/// The observations of the visitor.
fn visit(browser: &str, sandbox: &Sandbox) -> Value {
    let profile = sandbox.path("profile");
    let output = Command::new(browser)
        .args(["--headless", "--disable-gpu", "--no-sandbox", "--window-size=1200,800"])
        .args(["--virtual-time-budget=5000", "--dump-dom"])
        .arg(format!("--user-data-dir={}", profile.display()))
        .arg(format!("file://{}", sandbox.path("map.html").display()))
        .output()
        .expect("a browser that runs");
    let page = String::from_utf8_lossy(&output.stdout);
    let (_, seen) = page.rsplit_once(r#"<pre id="seen" hidden="">"#).expect("a page");
    let (seen, _) = seen.split_once("</pre>").expect("an element");
    assert!(!seen.is_empty(), "the page failed: {page}");
    let bytes = base64::Engine::decode(&base64::prelude::BASE64_STANDARD, seen);
    serde_json::from_slice(&bytes.expect("base64")).expect("JSON")
}
