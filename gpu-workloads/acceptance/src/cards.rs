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
    /// Whether its memory can have ECC.
    pub ecc: bool,
    /// Which data sheet says so.
    pub source: &'static str,
    /// The maker's address of that sheet.
    pub address: &'static str,
    /// Where the figures were read on [`READ_ON`], which was never the maker's own site; absent where they were put down from the
    /// sheet alone, and have not been read again.
    pub read: Option<&'static str>,
}

/// When the pages in `read` were read.
pub const READ_ON: &str = "2026-11-26";

/// All that are known.
pub const CARDS: [Card; 23] = [
    Card {
        name: "NVIDIA GB200",
        memory_gigabytes: 186,
        bandwidth_gigabytes: 8_000,
        ecc: true,
        source: "NVIDIA GB200 NVL72 specifications, a 72nd of the rack's 13.4 TB and 576 TB/s",
        address: "https://www.nvidia.com/en-us/data-center/gb200-nvl72/",
        read: Some(
            "https://raw.githubusercontent.com/mlcommons/inference_results_v6.1/main/closed/Crusoe/systems/GB200-NVL72_GB200-186GB_aarch64x16_Dynamo.json, https://verda.com/blog/gb300-nvl72-architecture",
        ),
    },
    Card {
        name: "NVIDIA B200",
        memory_gigabytes: 180,
        bandwidth_gigabytes: 8_000,
        ecc: true,
        source: "NVIDIA DGX B200 specifications, an eighth of the system's 1,440 GB and 64 TB/s",
        address: "https://www.nvidia.com/en-us/data-center/dgx-b200/",
        read: Some(
            "https://raw.githubusercontent.com/mlcommons/inference_results_v6.0/main/closed/Nebius/systems/nebius_b200_n1.json, https://github.com/pytorch/ao/pull/4002 (7.67 TB/s by the driver's bus and clock)",
        ),
    },
    Card {
        name: "NVIDIA RTX PRO 6000 Blackwell Server Edition",
        memory_gigabytes: 96,
        bandwidth_gigabytes: 1_597,
        ecc: true,
        source: "NVIDIA RTX PRO 6000 Blackwell Server Edition data sheet",
        address: "https://www.nvidia.com/en-us/data-center/rtx-pro-6000-blackwell-server-edition/",
        read: None,
    },
    Card {
        name: "NVIDIA RTX PRO 6000 Blackwell Workstation Edition",
        memory_gigabytes: 96,
        bandwidth_gigabytes: 1_792,
        ecc: true,
        source: "NVIDIA RTX PRO 6000 Blackwell Workstation Edition data sheet",
        address: "https://www.nvidia.com/en-us/products/workstations/professional-desktop-gpus/rtx-pro-6000/",
        read: Some(
            "https://gpu.name/posts/nvidia-unveils-rtx-pro-6000-blackwell-gpu-with-24-064-cores-and-96gb-memory, https://www.techpowerup.com/forums/posts/5506993",
        ),
    },
    Card {
        name: "NVIDIA GH200 480GB",
        memory_gigabytes: 96,
        bandwidth_gigabytes: 4_000,
        ecc: true,
        source: "NVIDIA GH200 Grace Hopper Superchip data sheet, HBM3",
        address: "https://resources.nvidia.com/en-us-grace-cpu/grace-hopper-superchip",
        read: None,
    },
    Card {
        name: "NVIDIA H200",
        memory_gigabytes: 141,
        bandwidth_gigabytes: 4_800,
        ecc: true,
        source: "NVIDIA H200 Tensor Core GPU data sheet, SXM",
        address: "https://www.nvidia.com/en-us/data-center/h200/",
        read: Some("https://www.morphllm.com/nvidia-h200"),
    },
    Card {
        name: "NVIDIA H200 NVL",
        memory_gigabytes: 141,
        bandwidth_gigabytes: 4_800,
        ecc: true,
        source: "NVIDIA H200 Tensor Core GPU data sheet, NVL",
        address: "https://www.nvidia.com/en-us/data-center/h200/",
        read: Some("https://www.morphllm.com/nvidia-h200"),
    },
    Card {
        name: "NVIDIA H100 80GB HBM3",
        memory_gigabytes: 80,
        bandwidth_gigabytes: 3_350,
        ecc: true,
        source: "NVIDIA H100 Tensor Core GPU data sheet, SXM",
        address: "https://www.nvidia.com/en-us/data-center/h100/",
        read: Some("https://www.morphllm.com/nvidia-h200"),
    },
    Card {
        name: "NVIDIA H100 NVL",
        memory_gigabytes: 94,
        bandwidth_gigabytes: 3_900,
        ecc: true,
        source: "NVIDIA H100 Tensor Core GPU data sheet, NVL",
        address: "https://www.nvidia.com/en-us/data-center/h100/",
        read: Some("https://grokipedia.com/page/210100120"),
    },
    Card {
        name: "NVIDIA H100 PCIe",
        memory_gigabytes: 80,
        bandwidth_gigabytes: 2_000,
        ecc: true,
        source: "NVIDIA H100 PCIe GPU product brief, PB-11133-001",
        address: "https://www.nvidia.com/content/dam/en-zz/Solutions/gtcs22/data-center/h100/PB-11133-001_v01.pdf",
        read: Some(
            "https://manuals.plus/m/56b0c3ef7d0a1c470c0af8f05a0bd1f29a778007472ba941201fbbb185c9bccd, a copy of the brief",
        ),
    },
    Card {
        name: "NVIDIA A100-SXM4-80GB",
        memory_gigabytes: 80,
        bandwidth_gigabytes: 2_039,
        ecc: true,
        source: "NVIDIA A100 Tensor Core GPU data sheet, 80GB SXM",
        address: "https://www.nvidia.com/en-us/data-center/a100/",
        read: Some("https://gist.github.com/gengwg/3520df2ebf8872e5ee4818367e3a4122 (5120 bits at 1593 MHz)"),
    },
    Card {
        name: "NVIDIA A100 80GB PCIe",
        memory_gigabytes: 80,
        bandwidth_gigabytes: 1_935,
        ecc: true,
        source: "NVIDIA A100 Tensor Core GPU data sheet, 80GB PCIe",
        address: "https://www.nvidia.com/en-us/data-center/a100/",
        read: None,
    },
    Card {
        name: "NVIDIA A100-SXM4-40GB",
        memory_gigabytes: 40,
        bandwidth_gigabytes: 1_555,
        ecc: true,
        source: "NVIDIA A100 Tensor Core GPU data sheet, 40GB SXM",
        address: "https://www.nvidia.com/en-us/data-center/a100/",
        read: Some(
            "https://github.com/huataihuang/cloud-atlas/blob/master/source/machine_learning/hardware/nvidia_gpu/nvidia_a100.rst",
        ),
    },
    Card {
        name: "NVIDIA A100-PCIE-40GB",
        memory_gigabytes: 40,
        bandwidth_gigabytes: 1_555,
        ecc: true,
        source: "NVIDIA A100 Tensor Core GPU data sheet, 40GB PCIe",
        address: "https://www.nvidia.com/en-us/data-center/a100/",
        read: Some(
            "https://github.com/huataihuang/cloud-atlas/blob/master/source/machine_learning/hardware/nvidia_gpu/nvidia_a100.rst",
        ),
    },
    Card {
        name: "NVIDIA A30",
        memory_gigabytes: 24,
        bandwidth_gigabytes: 933,
        ecc: true,
        source: "NVIDIA A30 Tensor Core GPU data sheet",
        address: "https://www.nvidia.com/en-us/data-center/products/a30-gpu/",
        read: None,
    },
    Card {
        name: "NVIDIA A10",
        memory_gigabytes: 24,
        bandwidth_gigabytes: 600,
        ecc: true,
        source: "NVIDIA A10 Tensor Core GPU data sheet",
        address: "https://www.nvidia.com/en-us/data-center/products/a10-gpu/",
        read: None,
    },
    Card {
        name: "NVIDIA A40",
        memory_gigabytes: 48,
        bandwidth_gigabytes: 696,
        ecc: true,
        source: "NVIDIA A40 data sheet",
        address: "https://www.nvidia.com/en-us/data-center/a40/",
        read: Some("http://www.relationship-nepal.org/900-2g133-0000-000.html"),
    },
    Card {
        name: "NVIDIA L40S",
        memory_gigabytes: 48,
        bandwidth_gigabytes: 864,
        ecc: true,
        source: "NVIDIA L40S GPU data sheet",
        address: "https://www.nvidia.com/en-us/data-center/l40s/",
        read: Some("https://store.sourcecode.com/en-us/bg-bucket-compare/125/9820"),
    },
    Card {
        name: "NVIDIA L40",
        memory_gigabytes: 48,
        bandwidth_gigabytes: 864,
        ecc: true,
        source: "NVIDIA L40 GPU data sheet",
        address: "https://www.nvidia.com/en-us/data-center/l40/",
        read: None,
    },
    Card {
        name: "NVIDIA L4",
        memory_gigabytes: 24,
        bandwidth_gigabytes: 300,
        ecc: true,
        source: "NVIDIA L4 Tensor Core GPU data sheet",
        address: "https://www.nvidia.com/en-us/data-center/l4/",
        read: Some("https://store.sourcecode.com/en-us/bg-bucket-compare/125/9820"),
    },
    Card {
        name: "Tesla T4",
        memory_gigabytes: 16,
        bandwidth_gigabytes: 300,
        ecc: true,
        source: "NVIDIA T4 Tensor Core GPU data sheet",
        address: "https://www.nvidia.com/en-us/data-center/tesla-t4/",
        read: None,
    },
    Card {
        name: "Tesla V100-SXM2-32GB",
        memory_gigabytes: 32,
        bandwidth_gigabytes: 900,
        ecc: true,
        source: "NVIDIA V100 Tensor Core GPU data sheet, SXM2",
        address: "https://www.nvidia.com/en-us/data-center/v100/",
        read: None,
    },
    Card {
        name: "NVIDIA GeForce RTX 3090",
        memory_gigabytes: 24,
        bandwidth_gigabytes: 936,
        ecc: false,
        source: "NVIDIA GeForce RTX 3090 specifications",
        address: "https://www.nvidia.com/en-us/geforce/graphics-cards/30-series/rtx-3090-3090ti/",
        read: Some("https://holynerdvana.blogspot.com/2022/10/nvidia-geforce-rtx-3090-specifications.html"),
    },
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
    fn each_says_where_its_figures_are_from() {
        for card in &CARDS {
            let of_the_maker = |address: &str| {
                address.starts_with("https://www.nvidia.com/")
                    || address.starts_with("https://resources.nvidia.com/")
            };
            assert!(of_the_maker(card.address), "{}: {}", card.name, card.address);
            assert!(card.read.is_none_or(|read| read.starts_with("http")), "{}", card.name);
            assert!(card.source.starts_with("NVIDIA "), "{}", card.name);
        }
    }

    #[test]
    fn a_card_shows_what_it_is_sold_with() {
        let card = find("NVIDIA H100 80GB HBM3").unwrap();
        assert!(card.least_memory() < 81_079 << 20);
        assert!(card.least_memory() > 40 << 30);
        assert_eq!(card.bandwidth(), 3_350_000_000_000);
    }
}
