//! From what a driver hands out to a picture anybody can open. Pure.
//!
//! A JPEG holds luma and two chromas of the full range, by the matrix of BT.601. So do most raw formats of cameras, up to
//! the range, and they are rearranged line by line while they are encoded: a detour by RGB would cost a buffer of the
//! whole picture and two roundings.

use jpeg_encoder::{ColorType, Encoder, EncodingError, ImageBuffer, JpegColorType, SamplingFactor, rgb_to_ycbcr};

use crate::imaging::jpeg::{JpegError, check_jpeg, segments};

const QUALITY: u8 = 90;
const TABLES: u8 = 0xc4;
const SCAN: u8 = 0xda;

/// A whole JPEG with its size from one frame of an MJPEG stream.
///
/// # Errors
/// The frame is cut or broken, as happens on a busy bus: take the next one.
pub(crate) fn from_mjpeg(frame: &[u8]) -> Result<(Vec<u8>, u32, u32), JpegError> {
    let (width, height) = check_jpeg(frame)?;
    Ok((with_tables(frame)?, width, height))
}

/// Many USB cameras leave out the Huffman tables that everybody knows. Decoders and browsers do not know them.
fn with_tables(frame: &[u8]) -> Result<Vec<u8>, JpegError> {
    let mut scan_at = None;
    for segment in segments(frame) {
        let segment = segment?;
        match segment.marker {
            TABLES => return Ok(frame.to_vec()),
            SCAN => scan_at = Some(segment.at),
            _ => {}
        }
    }
    let (before, from_scan) = frame.split_at(scan_at.ok_or(JpegError::Broken)?);
    Ok([before, &standard_tables(), from_scan].concat())
}

/// The tables of ITU-T T.81 Annex K, taken from where they are written anyway: our own encoder uses them.
fn standard_tables() -> Vec<u8> {
    let mut jpeg = Vec::new();
    Encoder::new(&mut jpeg, QUALITY)
        .encode(&[0; 8 * 8 * 3], 8, 8, ColorType::Ycbcr)
        .expect("memory takes every byte of eight by eight pixels");
    segments(&jpeg)
        .flatten()
        .filter(|segment| segment.marker == TABLES)
        .flat_map(|segment| segment.bytes.to_vec())
        .collect()
}

/// The layout of the samples of a raw format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// Four bytes for two pixels that share their chroma; says where in them the samples are.
    Packed { lumas: [usize; 2], cb: usize, cr: usize },
    /// All luma, then one plane of pairs, each for two by two pixels.
    Pairs { cr_first: bool },
    /// All luma, then two planes, a sample for two by two pixels.
    Planes { cr_first: bool },
    /// Three bytes a pixel.
    Rgb { blue_first: bool },
    /// Luma only.
    Grey,
}

impl Layout {
    /// The raw formats that become a picture here, the best first: those that keep most colour, and least to carry.
    pub(crate) const KNOWN: [([u8; 4], Self); 11] = [
        (*b"YUYV", Self::packed([0, 2], 1, 3)),
        (*b"UYVY", Self::packed([1, 3], 0, 2)),
        (*b"YVYU", Self::packed([0, 2], 3, 1)),
        (*b"VYUY", Self::packed([1, 3], 2, 0)),
        (*b"NV12", Self::Pairs { cr_first: false }),
        (*b"NV21", Self::Pairs { cr_first: true }),
        (*b"YU12", Self::Planes { cr_first: false }),
        (*b"YV12", Self::Planes { cr_first: true }),
        (*b"RGB3", Self::Rgb { blue_first: false }),
        (*b"BGR3", Self::Rgb { blue_first: true }),
        (*b"GREY", Self::Grey),
    ];

    const fn packed(lumas: [usize; 2], cb: usize, cr: usize) -> Self {
        Self::Packed { lumas, cb, cr }
    }

    /// `None`: no format that is known here.
    pub(crate) fn of(fourcc: [u8; 4]) -> Option<Self> {
        Self::KNOWN.into_iter().find_map(|(known, layout)| (known == fourcc).then_some(layout))
    }

    /// The stride of the first plane.
    fn line_bytes(self, width: usize) -> usize {
        match self {
            Self::Packed { .. } => width.div_ceil(2) * 4,
            Self::Pairs { .. } | Self::Planes { .. } | Self::Grey => width,
            Self::Rgb { .. } => width * 3,
        }
    }

    fn sampling(self) -> SamplingFactor {
        match self {
            // The sensor behind RGB has half as many points for red and blue, too.
            Self::Packed { .. } | Self::Rgb { .. } | Self::Grey => SamplingFactor::F_2_1,
            Self::Pairs { .. } | Self::Planes { .. } => SamplingFactor::F_2_2,
        }
    }
}

/// A raw frame as the driver agreed to give it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Raw {
    pub layout: Layout,
    /// Pixels.
    pub width: u16,
    pub height: u16,
    /// Bytes from one line of the first plane to the next; too few count as none to spare.
    pub stride: usize,
    /// 0 to 255 instead of the 16 to 235 of television.
    pub full_range: bool,
    /// The matrix of BT.709 instead of BT.601.
    pub rec709: bool,
}

impl Raw {
    /// A JPEG of the frame.
    ///
    /// # Errors
    /// The encoder refuses the size. A frame that is too short gives `None`: take the next one.
    pub(crate) fn to_jpeg(self, frame: &[u8]) -> Result<Option<Vec<u8>>, EncodingError> {
        let Some(lines) = Lines::of(self, frame) else {
            return Ok(None);
        };
        // A tenth of the pixels in bytes is what such a picture has; more grows by itself.
        let pixels = usize::from(self.width) * usize::from(self.height);
        let mut jpeg = Vec::with_capacity(pixels / 8);
        let mut encoder = Encoder::new(&mut jpeg, QUALITY);
        encoder.set_sampling_factor(self.layout.sampling());
        encoder.encode_image(lines)?;
        Ok(Some(jpeg))
    }

    /// Mean luma of the frame, 0 to 255, from every sixteenth line; `None`: it is too short.
    pub(crate) fn brightness(self, frame: &[u8]) -> Option<u8> {
        const EVERY: usize = 16;
        let lines = Lines::of(self, frame)?;
        let mut buffers: [Vec<u8>; 4] = Default::default();
        let (mut sum, mut count) = (0, 0);
        for y in (0..self.height).step_by(EVERY) {
            buffers.iter_mut().for_each(Vec::clear);
            lines.fill_buffers(y, &mut buffers);
            sum += buffers[0].iter().map(|&luma| u64::from(luma)).sum::<u64>();
            count += buffers[0].len() as u64;
        }
        u8::try_from(sum.checked_div(count)?).ok()
    }
}

/// A frame that is long enough, for the encoder to ask line by line.
struct Lines<'a> {
    raw: Raw,
    frame: &'a [u8],
    stride: usize,
    /// Converts a level to that of a JPEG.
    luma: [u8; 256],
    chroma: [u8; 256],
}

impl<'a> Lines<'a> {
    fn of(raw: Raw, frame: &'a [u8]) -> Option<Self> {
        let (width, height) = (usize::from(raw.width), usize::from(raw.height));
        if width == 0 || height == 0 {
            return None;
        }
        let line_bytes = raw.layout.line_bytes(width);
        let stride = raw.stride.max(line_bytes);
        let chroma_lines = height.div_ceil(2);
        let (chroma_stride, chroma_bytes, planes) = match raw.layout {
            Layout::Packed { .. } | Layout::Rgb { .. } | Layout::Grey => (0, 0, 0),
            Layout::Pairs { .. } => (stride, width.div_ceil(2) * 2, 1),
            Layout::Planes { .. } => (stride / 2, width.div_ceil(2), 2),
        };
        // The padding behind the last line may be missing.
        let needed = if planes == 0 {
            stride * (height - 1) + line_bytes
        } else {
            stride * height + chroma_stride * (chroma_lines * planes - 1) + chroma_bytes
        };
        if frame.len() < needed {
            return None;
        }
        // A camera without colour has no television to please, and says the wrong range more often than not: its levels
        // stay as they are, which loses nothing.
        let as_they_are = raw.full_range || matches!(raw.layout, Layout::Rgb { .. } | Layout::Grey);
        let level = |n: usize| u8::try_from(n).expect("there are 256 levels");
        let (luma, chroma) = if as_they_are {
            let same = std::array::from_fn(level);
            (same, same)
        } else {
            (
                std::array::from_fn(|n| stretched(level(n), 16, 0, 219)),
                std::array::from_fn(|n| stretched(level(n), 128, 128, 224)),
            )
        };
        Some(Self { raw, frame, stride, luma, chroma })
    }

    /// One line of the first plane.
    fn line(&self, y: usize) -> &'a [u8] {
        let bytes = self.raw.layout.line_bytes(usize::from(self.raw.width));
        &self.frame[y * self.stride..][..bytes]
    }

    /// `cbs` and `crs`: one for two pixels.
    fn add_chroma<'b>(
        &self,
        cbs: impl Iterator<Item = &'b u8>,
        crs: impl Iterator<Item = &'b u8>,
        [_, cb_out, cr_out, _]: &mut [Vec<u8>; 4],
    ) {
        let width = usize::from(self.raw.width);
        let twice = |sample: &u8| {
            let sample = self.chroma[usize::from(*sample)];
            [sample, sample]
        };
        cb_out.extend(cbs.flat_map(twice).take(width));
        cr_out.extend(crs.flat_map(twice).take(width));
    }
}

impl ImageBuffer for Lines<'_> {
    fn get_jpeg_color_type(&self) -> JpegColorType {
        match self.raw.layout {
            Layout::Grey => JpegColorType::Luma,
            Layout::Packed { .. } | Layout::Pairs { .. } | Layout::Planes { .. } | Layout::Rgb { .. } => {
                JpegColorType::Ycbcr
            }
        }
    }

    fn width(&self) -> u16 {
        self.raw.width
    }

    fn height(&self) -> u16 {
        self.raw.height
    }

    fn fill_buffers(&self, y: u16, buffers: &mut [Vec<u8>; 4]) {
        let begun = buffers[0].len();
        let width = usize::from(self.raw.width);
        let y = usize::from(y);
        let line = self.line(y);
        let luma = |sample: &u8| self.luma[usize::from(*sample)];
        let chroma_from = self.stride * usize::from(self.raw.height);
        match self.raw.layout {
            Layout::Packed { lumas, cb, cr } => {
                let lumas = line.chunks_exact(4).flat_map(|four| [luma(&four[lumas[0]]), luma(&four[lumas[1]])]);
                buffers[0].extend(lumas.take(width));
                let every_fourth = |from: usize| line[from..].iter().step_by(4);
                self.add_chroma(every_fourth(cb), every_fourth(cr), buffers);
            }
            Layout::Pairs { cr_first } => {
                buffers[0].extend(line.iter().map(luma));
                let bytes = width.div_ceil(2) * 2;
                let pairs = &self.frame[chroma_from + y / 2 * self.stride..][..bytes];
                let every_second = |from: usize| pairs[from..].iter().step_by(2);
                let (cb, cr) = if cr_first { (1, 0) } else { (0, 1) };
                self.add_chroma(every_second(cb), every_second(cr), buffers);
            }
            Layout::Planes { cr_first } => {
                buffers[0].extend(line.iter().map(luma));
                let (stride, bytes) = (self.stride / 2, width.div_ceil(2));
                let lines = usize::from(self.raw.height).div_ceil(2);
                let plane = |n: usize| &self.frame[chroma_from + (n * lines + y / 2) * stride..][..bytes];
                let (cb, cr) = if cr_first { (1, 0) } else { (0, 1) };
                self.add_chroma(plane(cb).iter(), plane(cr).iter(), buffers);
            }
            Layout::Rgb { blue_first } => {
                for pixel in line.chunks_exact(3) {
                    let (red, blue) = if blue_first { (2, 0) } else { (0, 2) };
                    let (y, cb, cr) = rgb_to_ycbcr(pixel[red], pixel[1], pixel[blue]);
                    buffers[0].push(y);
                    buffers[1].push(cb);
                    buffers[2].push(cr);
                }
            }
            Layout::Grey => buffers[0].extend(line.iter().map(luma)),
        }
        let has_matrix = match self.raw.layout {
            Layout::Packed { .. } | Layout::Pairs { .. } | Layout::Planes { .. } => true,
            Layout::Rgb { .. } | Layout::Grey => false,
        };
        if has_matrix && self.raw.rec709 {
            let [lumas, cbs, crs, _] = buffers;
            let line = lumas[begun..].iter_mut().zip(&mut cbs[begun..]).zip(&mut crs[begun..]);
            for ((luma, cb), cr) in line {
                (*luma, *cb, *cr) = from_rec709(*luma, *cb, *cr);
            }
        }
    }
}

/// Television levels to computer levels: what was `zero` becomes `to`, and `span` of them become 255.
fn stretched(level: u8, zero: i32, to: i32, span: i32) -> u8 {
    let offset = (i32::from(level) - zero) * 255;
    // Rounded to the nearest, below zero as well.
    let full = (offset * 2 + span * offset.signum()) / (span * 2) + to;
    u8::try_from(full.clamp(0, 255)).unwrap_or(u8::MAX)
}

/// The same colour by the matrix of BT.601 that JPEG has, from that of BT.709; both of the full range.
///
/// Both matrices are linear, so one after the other is one: the constants are their product, in 65536ths.
fn from_rec709(luma: u8, cb: u8, cr: u8) -> (u8, u8, u8) {
    let (b, r) = (i32::from(cb) - 128, i32::from(cr) - 128);
    let part = |sum: i32| (sum + (1 << 15)) >> 16;
    let level = |n: i32| u8::try_from(n.clamp(0, 255)).unwrap_or(u8::MAX);
    (
        level(i32::from(luma) + part(6657 * b + 12850 * r)),
        level(128 + part(64871 * b - 7252 * r)),
        level(128 + part(64448 * r - 4748 * b)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hardware::testing::without_tables;

    fn decoded(jpeg: &[u8]) -> image::RgbImage {
        image::load_from_memory_with_format(jpeg, image::ImageFormat::Jpeg).unwrap().into_rgb8()
    }

    /// A JPEG of 32 x 16 pixels, and the same without its Huffman tables.
    fn with_and_without_tables() -> (Vec<u8>, Vec<u8>) {
        let pixels: Vec<u8> = (0..32 * 16 * 3u32).map(|n| (n * 7).to_le_bytes()[0]).collect();
        let mut whole = Vec::new();
        Encoder::new(&mut whole, 80).encode(&pixels, 32, 16, ColorType::Rgb).unwrap();
        let bare = without_tables(&whole);
        (whole, bare)
    }

    #[test]
    fn a_frame_without_huffman_tables_can_be_opened() {
        let (whole, bare) = with_and_without_tables();
        assert!(image::load_from_memory_with_format(&bare, image::ImageFormat::Jpeg).is_err());
        let (mended, width, height) = from_mjpeg(&bare).unwrap();
        assert_eq!((width, height), (32, 16));
        assert_eq!(decoded(&mended), decoded(&whole));
        // One that has its tables is passed on byte for byte.
        assert_eq!(from_mjpeg(&whole).unwrap().0, whole);
        assert_eq!(from_mjpeg(&whole[..whole.len() / 2]), Err(JpegError::Cut));
    }

    /// Red, green and blue as V4L2 defines them for a matrix and a range, in fractions, as a reference.
    fn samples(rgb: [u8; 3], rec709: bool, full_range: bool) -> [u8; 3] {
        let [r, g, b] = rgb.map(|n| f64::from(n) / 255.0);
        let (kr, kb) = if rec709 { (0.2126, 0.0722) } else { (0.299, 0.114) };
        let luma = kr * r + (1.0 - kr - kb) * g + kb * b;
        let cb = (b - luma) / (2.0 * (1.0 - kb));
        let cr = (r - luma) / (2.0 * (1.0 - kr));
        let scaled = if full_range {
            [255.0 * luma, 128.0 + 255.0 * cb, 128.0 + 255.0 * cr]
        } else {
            [16.0 + 219.0 * luma, 128.0 + 224.0 * cb, 128.0 + 224.0 * cr]
        };
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to a byte")]
        scaled.map(|n| n.round().clamp(0.0, 255.0) as u8)
    }

    const SIDE: usize = 32;
    /// Four tiles of 16 pixels, which no block of a JPEG mixes.
    const TILES: [[u8; 3]; 4] = [[0, 0, 0], [255, 255, 255], [200, 30, 40], [40, 90, 220]];

    fn tile(x: usize, y: usize) -> [u8; 3] {
        TILES[x / 16 + y / 16 * 2]
    }

    /// The tiles as a camera would hand them out, with `padding` bytes behind each line but the last.
    fn frame_of(layout: Layout, rec709: bool, full_range: bool, padding: usize) -> (Vec<u8>, Raw) {
        let sample = |x: usize, y: usize| samples(tile(x, y), rec709, full_range);
        let luma = |y: usize| (0..SIDE).map(|x| sample(x, y)[0]).collect::<Vec<u8>>();
        let every_second = || (0..SIDE).step_by(2);
        let chroma = |y: usize, which: usize| every_second().map(move |x| sample(x, y)[which]);
        let first_plane: Vec<Vec<u8>> = match layout {
            Layout::Packed { lumas, cb, cr } => {
                let four = |x: usize, y: usize| {
                    let mut four = [0; 4];
                    four[lumas[0]] = sample(x, y)[0];
                    four[lumas[1]] = sample(x + 1, y)[0];
                    [four[cb], four[cr]] = [sample(x, y)[1], sample(x, y)[2]];
                    four
                };
                (0..SIDE).map(|y| every_second().flat_map(|x| four(x, y)).collect()).collect()
            }
            Layout::Pairs { .. } | Layout::Planes { .. } | Layout::Grey => (0..SIDE).map(luma).collect(),
            Layout::Rgb { blue_first } => {
                let pixel = |x: usize, y: usize| {
                    let [r, g, b] = tile(x, y);
                    if blue_first { [b, g, r] } else { [r, g, b] }
                };
                (0..SIDE).map(|y| (0..SIDE).flat_map(|x| pixel(x, y)).collect()).collect()
            }
        };
        let (chroma_lines, chroma_padding): (Vec<Vec<u8>>, usize) = match layout {
            Layout::Packed { .. } | Layout::Rgb { .. } | Layout::Grey => (Vec::new(), padding),
            Layout::Pairs { cr_first } => {
                let (first, second) = if cr_first { (2, 1) } else { (1, 2) };
                let line = |y| chroma(y, first).zip(chroma(y, second)).flat_map(|(a, b)| [a, b]).collect();
                (every_second().map(line).collect(), padding)
            }
            Layout::Planes { cr_first } => {
                let planes = if cr_first { [2, 1] } else { [1, 2] };
                let lines = planes.map(|which| every_second().map(move |y| chroma(y, which).collect()));
                (lines.into_iter().flatten().collect(), padding / 2)
            }
        };
        let stride = first_plane[0].len() + padding;
        let mut bytes: Vec<u8> = Vec::new();
        for (lines, padding) in [(first_plane, padding), (chroma_lines, chroma_padding)] {
            for line in lines {
                bytes.extend(line);
                bytes.extend(vec![7; padding]);
            }
        }
        bytes.truncate(bytes.len() - chroma_padding);
        let side = u16::try_from(SIDE).unwrap();
        let raw = Raw {
            layout,
            width: side,
            height: side,
            stride,
            full_range,
            rec709,
        };
        (bytes, raw)
    }

    #[test]
    fn every_format_keeps_its_colours_whatever_its_padding_matrix_and_range() {
        for (fourcc, layout) in Layout::KNOWN {
            for (rec709, full_range, padding) in
                [(false, false, 0), (false, true, 6), (true, false, 32), (true, true, 0)]
            {
                let (bytes, raw) = frame_of(layout, rec709, full_range, padding);
                let case = format!("{} {raw:?}", fourcc.escape_ascii());
                let picture = decoded(&raw.to_jpeg(&bytes).unwrap().unwrap());
                for (x, y) in [(7, 7), (24, 7), (7, 24), (24, 24)] {
                    let found = picture.get_pixel(x, y).0;
                    let wanted = match layout {
                        Layout::Grey => {
                            let [luma, ..] = samples(tile(x as usize, y as usize), rec709, full_range);
                            [luma; 3]
                        }
                        Layout::Packed { .. } | Layout::Pairs { .. } | Layout::Planes { .. } | Layout::Rgb { .. } => {
                            tile(x as usize, y as usize)
                        }
                    };
                    for (found, wanted) in found.into_iter().zip(wanted) {
                        assert!(found.abs_diff(wanted) <= 5, "{case} at {x},{y}: {found} for {wanted}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_raw_frame_that_lacks_its_last_byte_is_no_picture() {
        for (_, layout) in Layout::KNOWN {
            let (bytes, raw) = frame_of(layout, false, false, 6);
            assert!(raw.to_jpeg(&bytes).unwrap().is_some());
            let short = &bytes[..bytes.len() - 1];
            assert_eq!(raw.to_jpeg(short).unwrap(), None, "{layout:?}");
            assert_eq!(raw.brightness(short), None, "{layout:?}");
            let nothing = Raw { height: 0, ..raw };
            assert_eq!(nothing.to_jpeg(&bytes).unwrap(), None, "{layout:?}");
            // A driver that says no stride, or a wrong one, has no padding.
            let (bytes, raw) = frame_of(layout, false, false, 0);
            let unsaid = Raw { stride: 0, ..raw };
            assert_eq!(unsaid.to_jpeg(&bytes).unwrap(), raw.to_jpeg(&bytes).unwrap());
        }
    }

    #[test]
    fn odd_sizes_have_no_line_and_no_column_too_many() {
        for (_, layout) in Layout::KNOWN {
            let (bytes, raw) = frame_of(layout, false, false, 0);
            let (width, height) = (31, 29);
            let odd = Raw { width, height, ..raw };
            let picture = decoded(&odd.to_jpeg(&bytes).unwrap().unwrap());
            assert_eq!(picture.dimensions(), (31, 29), "{layout:?}");
        }
    }

    #[test]
    fn brightness_is_the_mean_of_the_luma() {
        let side = 64;
        for (luma, full_range, wanted) in [(16, false, 0), (235, false, 255), (128, true, 128)] {
            let raw = Raw {
                layout: Layout::of(*b"YUYV").unwrap(),
                width: side,
                height: side,
                stride: 0,
                full_range,
                rec709: false,
            };
            let frame = [luma, 128, luma, 128].repeat(64 * 64 / 2);
            assert_eq!(raw.brightness(&frame), Some(wanted), "{luma}");
        }
    }
}
