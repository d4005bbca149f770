//! Turning the hue, as torchvision's `adjust_hue` on Pillow pictures.

use crate::level::not_integer;
use crate::{Image, Pixels, Result};

/// Turns the hue by `turn` of the full circle (-0.5 to 0.5). A grey picture stays as it is.
///
/// 8-bit pictures go through Pillow's 8-bit HSV, where the hue has 256 steps and the turn is
/// `(turn * 255)` cut off; 16-bit pictures are computed in floating point.
pub(crate) fn hue(image: &Image, turn: f64) -> Result<Image> {
    if image.channels() == 1 {
        return Ok(image.clone());
    }
    let pixels = match image.pixels() {
        Pixels::U8(values) => {
            // The cast of NumPy: towards zero, then modulo 256.
            let shift = ((turn * 255.0) as i32).rem_euclid(256) as u8;
            let (pixels, _) = values.as_chunks::<3>();
            let mut out = Vec::with_capacity(pixels.len());
            for &pixel in pixels {
                let [h, s, v] = rgb_to_hsv(pixel);
                out.push(hsv_to_rgb([h.wrapping_add(shift), s, v]));
            }
            Pixels::U8(out.into_flattened())
        }
        Pixels::U16(values) => {
            let (pixels, _) = values.as_chunks::<3>();
            let turned = pixels.iter().map(|&pixel| turn_real(pixel, turn));
            Pixels::U16(turned.collect::<Vec<_>>().into_flattened())
        }
        Pixels::F32(_) => return Err(not_integer("Hue", image)),
    };
    Image::new(image.width(), image.height(), image.channels(), pixels)
}

/// Pillow's conversion: hue and saturation are single precision, cut off to 8 bits.
fn rgb_to_hsv([r, g, b]: [u8; 3]) -> [u8; 3] {
    let (high, low) = (r.max(g).max(b), r.min(g).min(b));
    if high == low {
        return [0, 0, high];
    }
    let range = f32::from(high - low);
    let saturation = range / f32::from(high);
    let part = |value: u8| f32::from(high - value) / range;
    let (rc, gc, bc) = (part(r), part(g), part(b));
    let sector = if r == high {
        bc - gc
    } else if g == high {
        (2.0 + f64::from(rc) - f64::from(bc)) as f32
    } else {
        (4.0 + f64::from(gc) - f64::from(rc)) as f32
    };
    let hue = ((f64::from(sector) / 6.0 + 1.0) % 1.0) as f32;
    [(f64::from(hue) * 255.0) as u8, (f64::from(saturation) * 255.0) as u8, high]
}

fn hsv_to_rgb([h, s, v]: [u8; 3]) -> [u8; 3] {
    if s == 0 {
        return [v; 3];
    }
    let position = f64::from(f32::from(h) * 6.0) / 255.0;
    let sector = position.floor();
    let part = f64::from((position - sector) as f32);
    let saturation = f64::from((f64::from(s) / 255.0) as f32);
    let value = f64::from(v);
    let round = |value: f64| value.round() as u8;
    let p = round(value * (1.0 - saturation));
    let q = round(value * (1.0 - saturation * part));
    let t = round(value * (1.0 - saturation * (1.0 - part)));
    match sector as u32 % 6 {
        0 => [v, t, p],
        1 => [q, v, p],
        2 => [p, v, t],
        3 => [p, q, v],
        4 => [t, p, v],
        _ => [v, p, q],
    }
}

/// The same without 8-bit steps.
fn turn_real(pixel: [u16; 3], turn: f64) -> [u16; 3] {
    let [r, g, b] = pixel.map(f64::from);
    let (high, low) = (r.max(g).max(b), r.min(g).min(b));
    let range = high - low;
    if range == 0.0 {
        return pixel;
    }
    let sector = if r == high {
        (g - b) / range
    } else if g == high {
        2.0 + (b - r) / range
    } else {
        4.0 + (r - g) / range
    };
    let position = (sector + 6.0 * turn).rem_euclid(6.0);
    // Each channel is a trapezoid of the hue: Smith's hexcone.
    let channel = |n: f64| {
        let k = (n + position).rem_euclid(6.0);
        (high - range * k.min(4.0 - k).clamp(0.0, 1.0)).round() as u16
    };
    [channel(5.0), channel(3.0), channel(1.0)]
}
