//! Known cards: how much memory they have and how fast it is, as their makers' data sheets say.

/// What a data sheet says of a card.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Card {
    /// The product name as the driver gives it.
    pub name: &'static str,
    /// Memory in units of 10^9 bytes, as it is sold.
    pub memory_gigabytes: u64,
    /// Memory bandwidth in units of 10^9 bytes a second.
    pub bandwidth_gigabytes: u64,
    /// Which data sheet says so.
    pub source: &'static str,
}

const fn card(
    name: &'static str,
    memory_gigabytes: u64,
    bandwidth_gigabytes: u64,
    source: &'static str,
) -> Card {
    Card { name, memory_gigabytes, bandwidth_gigabytes, source }
}

/// All that are known.
pub const CARDS: [Card; 18] = [
    card("NVIDIA GH200 480GB", 96, 4_000, "NVIDIA GH200 Grace Hopper Superchip data sheet, HBM3"),
    card("NVIDIA H200", 141, 4_800, "NVIDIA H200 Tensor Core GPU data sheet, SXM"),
    card("NVIDIA H200 NVL", 141, 4_800, "NVIDIA H200 Tensor Core GPU data sheet, NVL"),
    card("NVIDIA H100 80GB HBM3", 80, 3_350, "NVIDIA H100 Tensor Core GPU data sheet, SXM"),
    card("NVIDIA H100 NVL", 94, 3_900, "NVIDIA H100 Tensor Core GPU data sheet, NVL"),
    card("NVIDIA H100 PCIe", 80, 2_000, "NVIDIA H100 PCIe GPU product brief"),
    card("NVIDIA A100-SXM4-80GB", 80, 2_039, "NVIDIA A100 Tensor Core GPU data sheet, 80GB SXM"),
    card("NVIDIA A100 80GB PCIe", 80, 1_935, "NVIDIA A100 Tensor Core GPU data sheet, 80GB PCIe"),
    card("NVIDIA A100-SXM4-40GB", 40, 1_555, "NVIDIA A100 Tensor Core GPU data sheet, 40GB SXM"),
    card("NVIDIA A100-PCIE-40GB", 40, 1_555, "NVIDIA A100 Tensor Core GPU data sheet, 40GB PCIe"),
    card("NVIDIA A30", 24, 933, "NVIDIA A30 Tensor Core GPU data sheet"),
    card("NVIDIA A10", 24, 600, "NVIDIA A10 Tensor Core GPU data sheet"),
    card("NVIDIA A40", 48, 696, "NVIDIA A40 data sheet"),
    card("NVIDIA L40S", 48, 864, "NVIDIA L40S GPU data sheet"),
    card("NVIDIA L40", 48, 864, "NVIDIA L40 GPU data sheet"),
    card("NVIDIA L4", 24, 300, "NVIDIA L4 Tensor Core GPU data sheet"),
    card("Tesla T4", 16, 300, "NVIDIA T4 Tensor Core GPU data sheet"),
    card("Tesla V100-SXM2-32GB", 32, 900, "NVIDIA V100 Tensor Core GPU data sheet, SXM2"),
];

/// The card of a product name. Names are compared whole: an H100 PCIe is not an H100 with two thirds of its bandwidth.
pub fn find(name: &str) -> Option<&'static Card> {
    CARDS.iter().find(|card| card.name == name)
}

impl Card {
    /// The memory that a driver must at least show of it, in bytes. A driver keeps some, and ECC takes a sixteenth on cards
    /// that have no memory of their own for it.
    pub fn least_memory(&self) -> u64 {
        self.memory_gigabytes * 1_000_000_000 / 100 * 92
    }

    /// Memory bandwidth in bytes a second.
    pub fn bandwidth(&self) -> u64 {
        self.bandwidth_gigabytes * 1_000_000_000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_is_there_once() {
        for card in &CARDS {
            assert_eq!(find(card.name), Some(card));
        }
        assert_eq!(find("NVIDIA H100"), None);
    }

    #[test]
    fn a_card_shows_what_it_is_sold_with() {
        let card = find("NVIDIA H100 80GB HBM3").unwrap();
        assert!(card.least_memory() < 81_079 << 20);
        assert!(card.least_memory() > 40 << 30);
        assert_eq!(card.bandwidth(), 3_350_000_000_000);
    }
}
