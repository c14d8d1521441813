//! What a sweep varies of a plan that was made ready.

use plimsoll_eviction::signal::{Signal, StarvedResource};
use plimsoll_eviction::threshold::KubeletConfiguration;

use super::curve::Course;
use super::fill::Kind;
use super::node::manager;
use super::prepare::{PrepareError, Prepared};

/// Each takes microseconds at most.
impl Prepared {
    /// Sets a hard threshold of a node, as written in `evictionHard`.
    ///
    /// # Errors
    /// [`PrepareError`] for a node that there is not, and a threshold that a kubelet refuses.
    pub fn set_hard_threshold(
        &mut self,
        node: &str,
        signal: Signal,
        value: &str,
    ) -> Result<(), PrepareError> {
        self.storage |= signal.filesystem().is_some();
        self.processes |= signal.resource() == StarvedResource::Pids;
        self.configure(node, |configuration| {
            let hard = configuration.threshold_configuration().hard;
            configuration.merge_default_eviction_settings = None;
            configuration.eviction_hard.insert(hard).insert(signal.name().to_owned(), value.to_owned());
        })
    }

    /// Changes what a node's kubelet is told about eviction.
    ///
    /// # Errors
    /// As [`set_hard_threshold`](Self::set_hard_threshold).
    pub fn configure(
        &mut self,
        node: &str,
        change: impl FnOnce(&mut KubeletConfiguration),
    ) -> Result<(), PrepareError> {
        let place = self.node_place(node)?;
        let node = &mut self.nodes[place];
        change(&mut node.configuration);
        node.manager = manager(&node.plan, &node.configuration)?;
        node.share_out();
        Ok(())
    }

    /// Gives a node so many bytes of memory.
    ///
    /// # Errors
    /// [`PrepareError::Unknown`] for a node that there is not.
    pub fn set_memory(&mut self, node: &str, bytes: i64) -> Result<(), PrepareError> {
        let place = self.node_place(node)?;
        self.nodes[place].memory = bytes;
        self.nodes[place].share_out();
        Ok(())
    }

    /// Changes what the fillers of a workload's pods take of memory, and how fast.
    ///
    /// # Errors
    /// [`PrepareError::Unknown`] for a workload that has no such filler.
    pub fn set_memory_fill(
        &mut self,
        workload: &str,
        change: impl Fn(&mut Course),
    ) -> Result<(), PrepareError> {
        let unknown =
            || PrepareError::Unknown { what: "workload with a fill of memory", name: workload.to_owned() };
        let place = self.place(workload).ok_or_else(unknown)?;
        let templates = self.templates.iter_mut().filter(|template| template.workload == Some(place));
        let containers = templates.flat_map(|template| &mut template.containers);
        let fills = containers.filter_map(|container| container.fill.as_mut());
        let mut fills = fills.filter(|fill| fill.kind == Kind::Memory).peekable();
        fills.peek().ok_or_else(unknown)?;
        fills.for_each(|fill| change(&mut fill.course));
        Ok(())
    }

    /// Makes every container of a workload's pods request so many bytes of memory.
    ///
    /// # Errors
    /// [`PrepareError::Unknown`] for a workload that there is not.
    pub fn set_memory_request(&mut self, workload: &str, bytes: i64) -> Result<(), PrepareError> {
        let unknown = || PrepareError::Unknown { what: "workload", name: workload.to_owned() };
        let place = self.place(workload).ok_or_else(unknown)?;
        for template in self.templates.iter_mut().filter(|template| template.workload == Some(place)) {
            template.request_memory(bytes);
        }
        Ok(())
    }
}
