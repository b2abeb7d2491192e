//! `kokeshi models synthesize`.

use crate::args::SynthesizeArguments;
use crate::failure::hinted;
use crate::meter;
use crate::printer::Printer;

pub(super) fn run(arguments: &SynthesizeArguments, printer: &Printer) -> anyhow::Result<()> {
    let folder = &arguments.folder;
    if folder.join("model.safetensors").exists() {
        let message = format!("{} already contains a checkpoint", folder.display());
        return Err(hinted(message, "choose a folder that does not exist"));
    }
    let bar = meter::bar(Some(0), printer);
    let written =
        kokeshi::synthesize(folder, arguments.shape, arguments.seed, &mut |written, total| {
            bar.set_length(total);
            bar.set_position(written);
        });
    bar.finish_and_clear();
    written?;
    printer.print(&format!("{}\n", folder.display()))
}
