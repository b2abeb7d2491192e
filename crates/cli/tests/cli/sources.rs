//! Where texts come from and go to: tables, JSON, compressed files, `-`, and arguments that are
//! probably meant otherwise.

use crate::{Run, Sandbox, vector};
use serde_json::json;

const CSV: &str = "id,note,text\n7,x,one\n8,y,\"two, three\"\n";

/// The vectors of `one` and `two, three`.
fn expected(sandbox: &Sandbox) -> Vec<Vec<f32>> {
    sandbox.run(["embed", "one", "two, three"]).jsonl().iter().map(vector).collect()
}

#[test]
fn tables_and_json_are_read_as_what_they_are() {
    let sandbox = Sandbox::new();
    let expected = expected(&sandbox);
    sandbox.write("a.CSV", CSV);
    sandbox.write("semicolons.csv", "id;text\n7;one\n8;two, three\n");
    sandbox.write("a.tsv", "id\ttext\n7\tone\n8\ttwo, three\n");
    sandbox.write("a.json", json!([{"id": 7, "text": "one"}, "two, three"]).to_string());
    for name in ["a.CSV", "semicolons.csv", "a.tsv", "a.json"] {
        let entries = sandbox.run(["embed", "--input", name]).jsonl();
        assert_eq!(entries.iter().map(vector).collect::<Vec<_>>(), expected, "{name}");
    }
    let entries = sandbox.run(["embed", "--input", "a.CSV"]).jsonl();
    assert_eq!((&entries[1]["id"], &entries[1]["line"]), (&json!("8"), &json!(3)));
    assert_eq!(entries[1]["metadata"], json!({"note": "y"}));
    let entries = sandbox.run_with(["embed", "--input-format", "csv"], CSV.as_bytes()).jsonl();
    assert_eq!(entries.iter().map(vector).collect::<Vec<_>>(), expected);
    let ranking = sandbox.run(["similarity", "-q", "one", "--input", "a.CSV", "--json"]).json();
    assert_eq!(ranking["results"].as_array().map(Vec::len), Some(2));
}

#[test]
fn fields_can_be_named_and_pass_through() {
    let sandbox = Sandbox::new();
    sandbox.write("a.jsonl", "{\"key\": \"k1\", \"note\": \"one\", \"year\": 1900}\n");
    let embed = ["embed", "--input", "a.jsonl", "--text-field", "note"];
    let entry = &sandbox.run(embed).jsonl()[0];
    assert_eq!(vector(entry), expected(&sandbox)[0]);
    assert_eq!(entry["metadata"], json!({"key": "k1", "year": 1900}));
    let entry = &sandbox.run(embed.iter().chain(&["--id-field", "key"])).jsonl()[0];
    assert_eq!((&entry["id"], &entry["metadata"]), (&json!("k1"), &json!({"year": 1900})));
    let csv = sandbox.run(embed.iter().chain(&["--id-field", "key", "--format", "csv"]));
    assert!(csv.quiet().starts_with("index,source,line,id,0,1,"), "{}", csv.text());
    let run = sandbox.run(["embed", "--input", "a.jsonl", "--text-field", "title"]);
    let expected = "line 1 of a.jsonl has no field `title`\nhint: it has `key`, `note`, `year`";
    assert!(run.failure(4).contains(expected), "{}", run.stderr);
}

#[test]
fn chunks_are_written_with_their_texts_unless_they_are_not_wanted() {
    let sandbox = Sandbox::new();
    let chunks = |more: &[&str]| {
        let arguments = ["embed", "--chunk", "sentences"];
        sandbox.run_with(arguments.iter().chain(more), b"One thing. Another thing.").jsonl()
    };
    let texts: Vec<_> = chunks(&[]).iter().map(|entry| entry["text"].clone()).collect();
    assert_eq!(texts, ["One thing.", "Another thing."]);
    assert_eq!(chunks(&["--no-text"])[0].get("text"), None);
}

#[test]
fn a_label_is_found_in_a_column_of_any_input() {
    let sandbox = Sandbox::new();
    sandbox.write("mail.csv", "text,wanted\nthe lamp is dark,light\nwhere is my parcel,parcel\n");
    let classify = ["classify", "--labels", "light,parcel", "--input", "mail.csv", "--json"];
    let answer = sandbox.run(classify).json();
    assert_eq!(answer["texts"][1]["text"], "where is my parcel");
    let answer = sandbox.run(classify.iter().chain(&["--truth", "wanted"])).json();
    assert_eq!(answer["texts"][0]["truth"], "light");
}

#[test]
fn a_table_stays_one_when_it_is_deduplicated() {
    let sandbox = Sandbox::new();
    sandbox.write("a.csv", "id,text\n1,one\n2,\"two, three\"\n3,one\n");
    let run = sandbox.run(["dedupe", "--input", "a.csv"]);
    assert_eq!(run.text(), "id,text\n1,one\n2,\"two, three\"\n");
}

/// `one` in gzip (RFC 1952), stored without compression.
const GZIP: &[u8] = &[
    0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 1, 4, 0, 0xfb, 0xff, b'o', b'n', b'e', b'\n', 0x9f, 0xa8,
    0x17, 0xf8, 4, 0, 0, 0,
];

#[test]
fn compressed_input_is_read_or_its_feature_is_named() {
    let sandbox = Sandbox::new();
    sandbox.write("a.txt.gz", GZIP);
    let run = sandbox.run(["embed", "--input", "a.txt.gz", "--input-format", "lines"]);
    if run.status == Some(0) {
        assert_eq!(vector(&run.jsonl()[0]), expected(&sandbox)[0]);
    } else {
        let expected =
            "cannot read a.txt.gz, which is compressed: it lacks the feature `compression`";
        assert!(run.failure(4).contains(expected), "{}", run.stderr);
    }
    sandbox.write("a.parquet", "PAR1");
    let run = sandbox.run(["embed", "--input", "a.parquet"]);
    assert!(run.failure(4).contains("a.parquet"), "{}", run.stderr);
}

#[test]
fn the_ending_of_an_output_file_must_be_known() {
    let sandbox = Sandbox::new();
    for name in ["p.xyz", "p.json.gz"] {
        let run = sandbox.run(["embed", "a", "-o", name]);
        let ending = name.rsplit('.').next().expect("an ending");
        let expected =
            format!("`.{ending}` is not the ending of an output format: expected `.jsonl`");
        assert!(run.failure(2).contains(&expected), "{}", run.stderr);
        assert!(!sandbox.path(name).exists());
    }
    let run = sandbox.run(["embed", "a", "-o", "p.parquet"]);
    assert!(run.failure(2).contains("Parquet files are written to a folder"), "{}", run.stderr);
    assert_eq!(sandbox.run(["embed", "a", "-o", "p.xyz", "--format", "npy"]).quiet(), "");
    let run = sandbox.run(["dedupe", "a", "-o", "p.gz"]);
    assert!(run.failure(4).contains("`.gz` files are not supported"), "{}", run.stderr);
}

#[test]
fn a_dash_is_standard_input_or_output() {
    let sandbox = Sandbox::new();
    let expected = expected(&sandbox);
    let vectors = |run: Run| run.jsonl().iter().map(vector).collect::<Vec<_>>();
    assert_eq!(vectors(sandbox.run_with(["embed", "-"], b"one\ntwo, three\n")), expected);
    assert_eq!(vectors(sandbox.run(["embed", "one", "two, three", "-o", "-"])), expected);
    let svg = sandbox.run(["similarity", "one", "two", "--svg", "-"]);
    assert!(svg.quiet().starts_with("<svg ") && svg.text().ends_with("</svg>\n"));
    let train = b"{\"text\": \"lamp\", \"label\": \"a\"}\n{\"text\": \"box\", \"label\": \"b\"}\n";
    let run = sandbox.run_with(["classify", "--train", "-", "the lamp"], train);
    assert_eq!(run.status, Some(0), "{}", run.stderr);
    assert!(!sandbox.path("-").exists());
}

#[test]
fn arguments_that_are_meant_otherwise_get_a_warning() {
    let sandbox = Sandbox::new();
    sandbox.write("faq.txt", "Where is the lamp?");
    let run = sandbox.run(["similarity", "--query", "lamp", "faq.txt"]);
    let expected = "warning: `faq.txt` is the name of a file, but used as a text; `--input faq.txt` \
                    reads the file\n";
    assert_eq!((run.status, run.stderr.as_str()), (Some(0), expected));
    let run = sandbox.run(["search", "freedom", "of", "speech"]);
    let expected = "a query of several words needs quotes: `kokeshi search \"freedom of speech\"`";
    assert!(run.failure(4).contains(expected), "{}", run.stderr);
}

#[test]
fn blank_lines_are_left_out_of_comparisons_and_named() {
    let sandbox = Sandbox::new();
    sandbox.write("faq.txt", "the lamp\n\nthe parcel\n  \n");
    let base = ["similarity", "--query", "lamp", "--input", "faq.txt", "--input-format", "lines"];
    let run = sandbox.run(base.iter().chain(&["--json"]));
    let expected = "warning: left out 2 blank texts: line 2 of faq.txt, line 4 of faq.txt; \
                    --keep-blank keeps them\n";
    assert_eq!((run.status, run.stderr.as_str()), (Some(0), expected));
    let ranking: serde_json::Value = serde_json::from_str(run.text()).expect("JSON");
    let mut indices: Vec<_> =
        ranking["results"].as_array().expect("results").iter().map(|one| &one["index"]).collect();
    indices.sort_by_key(|index| index.as_u64());
    assert_eq!(indices, [&json!(0), &json!(2)], "numbers are those of the input");
    assert_eq!(sandbox.run(base.iter().chain(&["--keep-blank"])).quiet().lines().count(), 4);
}

/// `text` in UTF-16 with the units in one byte order.
fn utf16(text: &str, unit: fn(u16) -> [u8; 2]) -> Vec<u8> {
    text.encode_utf16().flat_map(unit).collect()
}

#[test]
fn input_in_utf16_is_read_as_index_reads_it() {
    let sandbox = Sandbox::new();
    let expected = expected(&sandbox);
    let vectors = |run: &Run| run.jsonl().iter().map(vector).collect::<Vec<_>>();
    let lines = "\u{feff}one\r\ntwo, three\r\n";
    for unit in [u16::to_le_bytes as fn(u16) -> [u8; 2], u16::to_be_bytes] {
        let run = sandbox.run_with(["embed"], &utf16(lines, unit));
        assert_eq!(vectors(&run), expected);
        sandbox.write("marked.csv", utf16(&format!("\u{feff}{CSV}"), unit));
        assert_eq!(vectors(&sandbox.run(["embed", "--input", "marked.csv"])), expected);
    }
    sandbox.write("plain.txt", utf16("one", u16::to_le_bytes));
    let run = sandbox.run(["embed", "--input", "plain.txt"]);
    let warning = "warning: plain.txt read as UTF-16LE, which its bytes suggest\n";
    assert_eq!((run.status, run.stderr.as_str()), (Some(0), warning));
    assert_eq!(vectors(&Run { stderr: String::new(), ..run }), expected[..1]);
    let half = [&b"\xff\xfe"[..], &utf16("one", u16::to_le_bytes), b"\0\xd8x\0"].concat();
    let run = sandbox.run_with(["embed"], &half);
    let reason = "cannot read standard input: it begins as UTF-16LE and is not valid in it";
    assert!(run.failure(4).contains(reason), "{}", run.stderr);
}

#[test]
fn a_dash_for_a_classifier_or_queries_is_a_stream_or_refused() {
    let sandbox = Sandbox::new();
    let train = "{\"text\": \"lamp\", \"label\": \"a\"}\n{\"text\": \"box\", \"label\": \"b\"}\n";
    sandbox.write("train.jsonl", train);
    let run = sandbox.run(["classify", "--train", "train.jsonl", "--save", "-"]);
    assert_eq!(run.status, Some(0), "{}", run.stderr);
    let saved: serde_json::Value = serde_json::from_slice(&run.stdout).expect("a classifier");
    sandbox.write("saved.json", saved.to_string());
    let texts = ["the lamp", "--classifier", "saved.json"];
    assert!(sandbox.run(["classify"].iter().chain(&texts)).quiet().starts_with("a "));
    for (arguments, reason) in [
        (
            &["classify", "--train", "train.jsonl", "--save", "-", "the lamp"][..],
            "--save - writes the classifier to standard output, where the labels of the texts go",
        ),
        (&["classify", "--classifier", "-", "the lamp"], "--classifier needs a file"),
        (
            &["migrate", "plan", "--from", "old", "--to", "new", "--queries", "-"],
            "--queries needs a file: `kokeshi migrate verify` reads it again",
        ),
    ] {
        let run = sandbox.run(arguments);
        assert!(run.failure(2).contains(reason), "{}", run.stderr);
    }
    assert!(!sandbox.path("-").exists());
}
