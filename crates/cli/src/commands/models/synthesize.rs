//! `kokeshi models synthesize`.

use crate::args::SynthesizeArguments;
use crate::failure::hinted;
use crate::meter::Progress;
use crate::printer::Printer;

pub(super) fn run(arguments: &SynthesizeArguments, printer: &Printer) -> anyhow::Result<()> {
    let folder = &arguments.folder;
    if folder.join("model.safetensors").exists() {
        let message = format!("{} already contains a checkpoint", folder.display());
        return Err(hinted(message, "choose a folder that does not exist"));
    }
    let progress = Progress::new(Some(0), printer);
    let written =
        kokeshi::synthesize(folder, arguments.shape, arguments.seed, &mut |written, total| {
            progress.set_total(total);
            progress.set_done(written);
        });
    drop(progress);
    written?;
    printer.print(&format!("{}\n", folder.display()))
}
