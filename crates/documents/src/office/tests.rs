use super::text_of_office;
use crate::Format;
use std::io::{Cursor, Write};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

/// An archive with these files.
fn archive(files: &[(&str, &str)]) -> Vec<u8> {
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in files {
        archive.start_file(*name, SimpleFileOptions::default()).expect("a file");
        archive.write_all(content.as_bytes()).expect("written");
    }
    archive.finish().expect("an archive").into_inner()
}

fn text(format: Format, files: &[(&str, &str)]) -> String {
    text_of_office(format, &archive(files)).expect("a text")
}

#[test]
fn a_document_is_its_headings_paragraphs_lists_tables_and_notes() {
    let document = "<w:document xmlns:w='w' xmlns:mc='mc'><w:body>\
        <w:p><w:pPr><w:pStyle w:val='berschrift1'/></w:pPr><w:r><w:t>Fähre &amp; Hafen</w:t></w:r></w:p>\
        <w:p><w:r><w:t xml:space='preserve'>The ferry </w:t></w:r><w:r><w:t>leaves</w:t></w:r>\
        <w:r><w:tab/><w:instrText>PAGE</w:instrText></w:r><w:del><w:r><w:delText>gone</w:delText></w:r></w:del></w:p>\
        <w:p><w:pPr><w:numPr/></w:pPr><w:r><w:t>one</w:t></w:r></w:p>\
        <w:tbl><w:tr><w:tc><w:p><w:r><w:t>a|b</w:t></w:r></w:p><w:p><w:r><w:t>c</w:t></w:r></w:p></w:tc>\
        <w:tc><w:tbl><w:tr><w:tc><w:p><w:r><w:t>deep</w:t></w:r></w:p></w:tc></w:tr></w:tbl><w:p/></w:tc></w:tr></w:tbl>\
        <w:p><mc:AlternateContent><mc:Choice><w:p><w:r><w:t>box</w:t></w:r></w:p></mc:Choice>\
        <mc:Fallback><w:p><w:r><w:t>box</w:t></w:r></w:p></mc:Fallback></mc:AlternateContent></w:p>\
        </w:body></w:document>";
    let styles = "<w:styles xmlns:w='w'><w:style w:styleId='berschrift1'>\
        <w:name w:val='heading 1'/></w:style></w:styles>";
    let notes = "<w:footnotes xmlns:w='w'><w:p><w:r><w:t>note</w:t></w:r></w:p></w:footnotes>";
    let relations = "<Relationships><Relationship Id='r1' Type='http://x/officeDocument' \
        Target='/word/main.xml'/></Relationships>";
    let files = [
        ("_rels/.rels", relations),
        ("word/main.xml", document),
        ("word/styles.xml", styles),
        ("word/footnotes.xml", notes),
    ];
    let wanted =
        "# Fähre & Hafen\n\nThe ferry leaves\n\n- one\n| a\\|b c | deep |\n\nbox\n\nnote\n\n";
    assert_eq!(text(Format::Docx, &files), wanted);
}

#[test]
fn an_open_document_is_read_in_the_same_way() {
    let content = "<office:document-content xmlns:office='o' xmlns:text='t' xmlns:table='b'>\
        <text:tracked-changes><text:p>deleted</text:p></text:tracked-changes>\
        <text:h text:outline-level='2'>Tides</text:h>\
        <text:p>High<text:s text:c='2'/>water<text:note><text:note-body><text:p>a note</text:p></text:note-body></text:note> \
        <office:annotation><text:p>comment</text:p></office:annotation>here</text:p>\
        <text:list><text:list-item><text:p>one</text:p></text:list-item></text:list>\
        <table:table><table:table-row><table:table-cell><text:p>x</text:p></table:table-cell>\
        <table:table-cell/><table:table-cell><text:p>y</text:p></table:table-cell></table:table-row></table:table>\
        </office:document-content>";
    let wanted = "## Tides\n\na note\n\nHigh water here\n\n- one\n| x |  | y |\n";
    assert_eq!(text(Format::Odt, &[("content.xml", content)]), wanted);
    let manifest = "<manifest><encryption-data/></manifest>";
    let files = [("content.xml", "noise"), ("META-INF/manifest.xml", manifest)];
    let error = text_of_office(Format::Odt, &archive(&files)).expect_err("refused");
    assert_eq!(error.to_string(), "it is protected with a password");
}

#[test]
fn slides_are_pages_in_the_order_of_the_show() {
    let slide = |text: &str| {
        format!("<p:sld xmlns:p='p' xmlns:a='a'><a:p><a:r><a:t>{text}</a:t></a:r></a:p></p:sld>")
    };
    let (first, second, notes) = (slide("Harbours"), slide("Tides"), slide("Say hello"));
    let presentation = "<p:presentation xmlns:p='p' xmlns:r='r'><p:sldIdLst>\
        <p:sldId id='256' r:id='r2'/><p:sldId id='257' r:id='r1'/></p:sldIdLst></p:presentation>";
    let relations = "<Relationships><Relationship Id='r1' Type='x/slide' Target='slides/slide1.xml'/>\
        <Relationship Id='r2' Type='x/slide' Target='slides/slide2.xml'/></Relationships>";
    let of_slide = "<Relationships><Relationship Id='r1' Type='x/notesSlide' \
        Target='../notesSlides/notesSlide1.xml'/></Relationships>";
    let files = [
        ("ppt/presentation.xml", presentation),
        ("ppt/_rels/presentation.xml.rels", relations),
        ("ppt/slides/slide1.xml", &first),
        ("ppt/slides/slide2.xml", &second),
        ("ppt/slides/_rels/slide2.xml.rels", of_slide),
        ("ppt/notesSlides/notesSlide1.xml", &notes),
    ];
    let wanted = "Tides\n\nSay hello\n\n\u{c}Harbours\n\n\u{c}";
    assert_eq!(text(Format::Pptx, &files), wanted);
}

#[test]
fn a_book_is_its_chapters_in_order() {
    let container =
        "<container><rootfiles><rootfile full-path='OEBPS/book.opf'/></rootfiles></container>";
    let package = "<package><manifest><item id='b' href='two.xhtml' media-type='application/xhtml+xml'/>\
        <item id='a' href='ch%201.xhtml' media-type='application/xhtml+xml'/>\
        <item id='c' href='style.css' media-type='text/css'/></manifest>\
        <spine><itemref idref='a'/><itemref idref='c'/><itemref idref='b'/></spine></package>";
    let files = [
        ("META-INF/container.xml", container),
        ("OEBPS/book.opf", package),
        ("OEBPS/ch 1.xhtml", "<html><body><h1>One</h1><p>Begin</p></body></html>"),
        (
            "OEBPS/two.xhtml",
            "<?xml version='1.0' encoding='utf-8'?><html><body><h1>Two</h1></body></html>",
        ),
    ];
    assert_eq!(text(Format::Epub, &files), "# One\n\nBegin\n\n# Two\n\n");
}

#[test]
fn files_of_other_formats_are_refused_with_the_reason() {
    for (content, reason) in [
        (&b"text"[..], "it is not an archive"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "it is protected with a password"),
        (&archive(&[("a.txt", "text")]), "`word/document.xml` in it cannot be read"),
        (&archive(&[("word/document.xml", "<w:p><w:t>a</w:q>")]), "its XML is broken"),
    ] {
        let error = text_of_office(Format::Docx, content).expect_err("refused").to_string();
        assert!(error.starts_with(reason), "{error}");
    }
}
