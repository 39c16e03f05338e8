//! How pictures lie in a tensor.

/// The order of a batch's axes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// `[batch, channels, height, width]`: one plane a channel.
    ChannelsFirst,
    /// `[batch, height, width, channels]`: the channels of a pixel side by side.
    ChannelsLast,
}
