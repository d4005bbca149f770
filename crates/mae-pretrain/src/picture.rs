use candle_core::{DType, Device, Tensor};
use font8x8::UnicodeFonts;
use vit_kernels::{PatchOrder, unpatchify};
use vit_transforms::{Image, Pixels};

use crate::{Error, Mae, MaeOutput, Masking, Result};

const TITLES: [&str; 4] = ["original", "masked", "reconstruction", "recon + visible"];
const MARGIN: usize = 8;
const GLYPH: usize = 8;
const PAPER: [u8; 3] = [255, 255, 255];
const INK: [u8; 3] = [20, 20, 20];
/// Pictures are enlarged by whole factors up to about this side, so that titles fit below them.
const SHOWN_SIDE: usize = 160;

/// Draws reconstructions: one row per picture, `original | masked | reconstruction |
/// reconstruction + visible`, with titles and a caption.
///
/// `images` is the normalised batch `[B, C, H, W]` that gave `output`; `mean` and `std` (one value
/// or one per channel) undo the normalisation. Hidden patches are drawn in the mean colour. For a
/// model trained on normalised pixels each patch is shown with the true patch's mean and variance,
/// and the caption says so.
///
/// # Errors
/// When the parts do not belong together.
pub fn reconstruction_sheet(
    model: &Mae,
    images: &Tensor,
    output: &MaeOutput,
    masking: &Masking,
    mean: &[f32],
    std: &[f32],
) -> Result<Image> {
    let panels = panels(model, images, output, masking)?;
    let (batch, channels, height, width) = images.dims4()?;
    let scale = (SHOWN_SIDE / height.max(width)).max(1);
    let (cell_w, cell_h) = (width * scale, height * scale);
    let caption = caption(model);
    let columns = TITLES.len();
    let sheet_w =
        (columns * (cell_w + MARGIN) + MARGIN).max((caption_width(&caption)) + 2 * MARGIN);
    let top = MARGIN + GLYPH + MARGIN / 2;
    let sheet_h = top + batch * (cell_h + MARGIN) + caption.len() * (GLYPH + 3) + MARGIN;
    let mut sheet = Sheet::new(sheet_w, sheet_h);
    for (column, (title, panel)) in TITLES.iter().zip(&panels).enumerate() {
        let left = MARGIN + column * (cell_w + MARGIN);
        sheet.text(left, MARGIN, title, cell_w);
        let values = displayed(panel, mean, std)?;
        for (row, picture) in values.chunks_exact(channels * height * width).enumerate() {
            let place = (left, top + row * (cell_h + MARGIN));
            sheet.picture(place, picture, (channels, height, width), scale);
        }
    }
    let below = top + batch * (cell_h + MARGIN);
    for (line, text) in caption.iter().enumerate() {
        sheet.text(MARGIN, below + line * (GLYPH + 3), text, sheet_w - MARGIN);
    }
    Ok(Image::new(sheet_w, sheet_h, 3, Pixels::U8(sheet.pixels))?)
}

/// The four columns as normalised pictures `[B, C, H, W]`.
fn panels(
    model: &Mae,
    images: &Tensor,
    output: &MaeOutput,
    masking: &Masking,
) -> Result<[Tensor; 4]> {
    let config = model.config();
    let (grid, patch) = (config.encoder.grid(), config.encoder.patch_size);
    let rebuild = |tokens: &Tensor| unpatchify(tokens, patch, grid, PatchOrder::ChannelLast);
    let mask = masking.mask_tensor(images.device())?.to_dtype(images.dtype())?;
    let mask = mask.unsqueeze(2)?.broadcast_as(output.pred.shape())?;
    let hidden = rebuild(&mask.contiguous()?)?;
    let visible = (1. - &hidden)?;
    let reconstruction = rebuild(&model.pixels(images, &output.pred)?)?;
    let masked = (images * &visible)?;
    let pasted = ((&reconstruction * &hidden)? + &masked)?;
    Ok([images.clone(), masked, reconstruction, pasted])
}

fn caption(model: &Mae) -> Vec<String> {
    let config = model.config();
    let hidden = format!("{:.0} % of patches hidden (mean colour).", 100. * config.mask_ratio);
    let mut lines = vec![
        hidden,
        "Visible patches are never predicted in training: ignore them".to_string(),
        "in the third column.".to_string(),
    ];
    if config.norm_pix_loss {
        lines.extend([
            "Norm-pix model: every reconstructed patch is shown with the".to_string(),
            "TRUE patch's mean and variance, hidden patches included.".to_string(),
        ]);
    }
    lines
}

fn caption_width(caption: &[String]) -> usize {
    caption.iter().map(|line| line.chars().count() * GLYPH).max().unwrap_or(0)
}

/// Normalised values to 0..1, row-major `[B, C, H, W]`.
fn displayed(panel: &Tensor, mean: &[f32], std: &[f32]) -> Result<Vec<f32>> {
    let (_, channels, _, _) = panel.dims4()?;
    let per_channel = |values: &[f32]| -> Result<Tensor> {
        let full = match values {
            [one] => vec![*one; channels],
            all if all.len() == channels => all.to_vec(),
            _ => {
                return Err(Error::Config(format!(
                    "{} normalisation values for {channels} channels",
                    values.len()
                )));
            }
        };
        Ok(Tensor::from_vec(full, (1, channels, 1, 1), &Device::Cpu)?)
    };
    let panel = panel.to_device(&Device::Cpu)?.to_dtype(DType::F32)?;
    let shown = panel.broadcast_mul(&per_channel(std)?)?.broadcast_add(&per_channel(mean)?)?;
    Ok(shown.flatten_all()?.to_vec1()?)
}

struct Sheet {
    width: usize,
    pixels: Vec<u8>,
}

impl Sheet {
    fn new(width: usize, height: usize) -> Self {
        Self { width, pixels: PAPER.repeat(width * height) }
    }

    fn set(&mut self, x: usize, y: usize, colour: [u8; 3]) {
        let start = (y * self.width + x) * 3;
        if x < self.width
            && let Some(pixel) = self.pixels.get_mut(start..start + 3)
        {
            pixel.copy_from_slice(&colour);
        }
    }

    /// Draws one planar picture of values 0..1, each pixel `scale` times in both directions.
    fn picture(
        &mut self,
        (left, top): (usize, usize),
        values: &[f32],
        (channels, height, width): (usize, usize, usize),
        scale: usize,
    ) {
        let byte = |c: usize, y: usize, x: usize| {
            let plane = if channels == 3 { c } else { 0 };
            let value = values.get((plane * height + y) * width + x).copied().unwrap_or(0.);
            (value * 255.).clamp(0., 255.) as u8
        };
        for y in 0..height * scale {
            for x in 0..width * scale {
                let colour = std::array::from_fn(|c| byte(c, y / scale, x / scale));
                self.set(left + x, top + y, colour);
            }
        }
    }

    /// Draws a line of text, cut after `room` pixels.
    fn text(&mut self, left: usize, top: usize, text: &str, room: usize) {
        for (i, letter) in text.chars().take(room / GLYPH).enumerate() {
            let Some(glyph) = font8x8::BASIC_FONTS.get(letter) else { continue };
            for (y, row) in glyph.iter().enumerate() {
                for x in (0..GLYPH).filter(|x| row & (1 << x) != 0) {
                    self.set(left + i * GLYPH + x, top + y, INK);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MaeConfig;
    use vit_models::{Context, ParamStore, VitConfig};

    fn model(norm_pix_loss: bool) -> Mae {
        let encoder =
            VitConfig { embed_dim: 16, depth: 1, num_heads: 2, ..VitConfig::vit_tiny(4, 16) };
        let decoder =
            MaeConfig { decoder_embed_dim: 8, decoder_depth: 1, ..MaeConfig::new(encoder) };
        let config = MaeConfig { decoder_num_heads: 2, norm_pix_loss, ..decoder };
        let specs = Mae::specs(&config).unwrap();
        let store = ParamStore::init(&specs, 0, DType::F32, &Device::Cpu).unwrap();
        Mae::new(&config, &store.frozen()).unwrap()
    }

    fn images() -> Tensor {
        let values: Vec<f32> = (0..3 * 256).map(|i| (0.1 * i as f32).sin()).collect();
        Tensor::from_vec(values, (1, 3, 16, 16), &Device::Cpu).unwrap()
    }

    fn masking() -> Masking {
        Masking::from_noise(&[(0..16).map(|i| (i * 7 % 16) as f32).collect()], 16, 0.75).unwrap()
    }

    fn values(tensor: &Tensor) -> Vec<f32> {
        tensor.flatten_all().unwrap().to_vec1().unwrap()
    }

    /// A perfect prediction must come out as the original, also through normalised patches.
    #[test]
    fn a_perfect_prediction_looks_like_the_original() {
        for norm_pix in [false, true] {
            let (model, images, masking) = (model(norm_pix), images(), masking());
            let mut output = model.forward(&images, &masking, &Context::eval()).unwrap();
            output.pred = model.target(&images).unwrap();
            let [original, masked, reconstruction, pasted] =
                panels(&model, &images, &output, &masking).unwrap();
            for panel in [&reconstruction, &pasted] {
                for (a, b) in values(panel).iter().zip(values(&original)) {
                    assert!((a - b).abs() < 1e-5, "{a} {b}");
                }
            }
            let hidden = values(&masked).iter().filter(|value| **value == 0.).count();
            assert!((12 * 48..12 * 48 + 8).contains(&hidden), "{hidden} of 768 values hidden");
        }
    }

    #[test]
    fn the_caption_of_a_norm_pix_model_warns() {
        assert!(caption(&model(true)).join(" ").contains("TRUE patch"));
        assert!(!caption(&model(false)).join(" ").contains("TRUE patch"));
    }

    #[test]
    fn the_sheet_holds_four_columns_and_the_original_colours() {
        let (model, images, masking) = (model(false), images(), masking());
        let output = model.forward(&images, &masking, &Context::eval()).unwrap();
        let sheet =
            reconstruction_sheet(&model, &images, &output, &masking, &[0.5], &[0.25]).unwrap();
        assert!(sheet.width() >= 4 * 160 && sheet.height() > 160);
        let Pixels::U8(pixels) = sheet.pixels() else { panic!("8-bit") };
        let top = MARGIN + GLYPH + MARGIN / 2;
        let first = &pixels[(top * sheet.width() + MARGIN) * 3..][..3];
        let want: Vec<u8> = (0..3)
            .map(|c| ((values(&images)[c * 256] * 0.25 + 0.5) * 255.).clamp(0., 255.) as u8)
            .collect();
        assert_eq!(first, want);
        let wrong = reconstruction_sheet(&model, &images, &output, &masking, &[0.5, 0.5], &[0.25]);
        assert!(wrong.unwrap_err().to_string().contains("2 normalisation values"));
    }
}
