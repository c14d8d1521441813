//! An explanation in words and tables.

use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement, Table, presets};
use plimsoll_eviction::layout::{FilesystemLayout, NodeReclaim};
use plimsoll_eviction::limits::LimitOn;
use plimsoll_eviction::pod::Exemption;
use plimsoll_eviction::rank::RankBy;

use super::explanation::{Explanation, Next, Order, Ranked, When};
use super::rows::{either, first_words, order_row, standing, threshold_row, why};
use crate::report::{TerminalOptions, Tone};
use crate::verdict::words;

/// Writes an explanation for people. Of each order the first so many pods are told.
#[must_use]
pub fn render(explanation: &Explanation, top: usize, options: &TerminalOptions) -> String {
    let mut page = Page { explanation, top, options, text: String::new() };
    page.heading();
    page.next();
    page.thresholds();
    page.orders();
    page.if_they_were_met();
    page.messages();
    page.limits();
    page.exempt();
    page.text
}

struct Page<'a> {
    explanation: &'a Explanation,
    top: usize,
    options: &'a TerminalOptions,
    text: String,
}

impl Page<'_> {
    fn line(&mut self, tone: Tone, line: &str) {
        self.text.push_str(&self.options.paint(tone, line));
        self.text.push('\n');
    }

    fn section(&mut self, title: &str) {
        self.text.push('\n');
        self.line(Tone::Strong, title);
    }

    fn wrapped(&mut self, tone: Tone, indent: &str, text: &str) {
        for line in self.options.wrap(indent, text) {
            self.line(tone, &line);
        }
    }

    /// A message as the kubelet leaves it, in one line and to its last space, so that it can be searched for.
    fn message(&mut self, before: &str, message: &str) {
        self.line(Tone::Faint, &format!("   {before}{message}"));
    }

    /// A table whose last column takes the lines that there is no room for.
    fn table<const N: usize>(&mut self, header: [&str; N], right: &[usize], rows: Vec<[String; N]>) {
        let mut table = Table::new();
        table
            .load_style(presets::NOTHING)
            .set_content_arrangement(ContentArrangement::Dynamic)
            .set_width(self.options.width)
            .set_header(header);
        for row in rows {
            table.add_row(row);
        }
        for &column in right {
            if let Some(column) = table.column_mut(column) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        for column in 0..N - 1 {
            if let Some(column) = table.column_mut(column) {
                column.set_constraint(ColumnConstraint::ContentWidth);
            }
        }
        for line in table.lines() {
            self.line(Tone::Plain, line.trim_end());
        }
    }

    fn heading(&mut self) {
        let Explanation { node, layout, pods, left_out, measured, .. } = self.explanation;
        let layout = match layout {
            FilesystemLayout::Single => "one filesystem for everything",
            FilesystemLayout::DedicatedImageFs => "images and writable layers on a filesystem of their own",
            FilesystemLayout::Split => "images on a filesystem of their own",
        };
        let mut parts = vec![words::count(*pods, "pod"), layout.to_owned()];
        if let Some(measured) = measured {
            parts.push(format!("figures of {}", measured.strftime("%Y-%m-%dT%H:%M:%SZ")));
        }
        let name = node.as_deref().unwrap_or("a node that nothing names");
        self.line(Tone::Strong, &format!("{name}: {}", parts.join(", ")));
        let left_out = [
            (left_out.elsewhere, "on other nodes"),
            (left_out.unscheduled, "on no node yet"),
            (left_out.ended, "that ended"),
        ];
        let left_out: Vec<String> = left_out
            .into_iter()
            .filter(|(pods, _)| *pods > 0)
            .map(|(pods, why)| format!("{} {why}", words::count(pods, "pod")))
            .collect();
        if !left_out.is_empty() {
            self.wrapped(Tone::Faint, " ", &format!("left out: {}", words::list(left_out)));
        }
    }

    fn next(&mut self) {
        self.section("Next");
        if let Some(refusal) = &self.explanation.refusal {
            let text = format!("a kubelet does not start with this configuration: {refusal}");
            return self.wrapped(Tone::Bad, " ", &text);
        }
        if self.explanation.next.is_empty() {
            return self.nobody();
        }
        for next in &self.explanation.next {
            match next {
                Next::OverLimits(pods) => {
                    let verb = if pods.len() == 1 { "goes" } else { "go in one pass" };
                    let pods = words::list(pods);
                    let text = format!(
                        "{pods} {verb}, over a limit on local storage; thresholds are not looked at in that pass"
                    );
                    self.wrapped(Tone::Bad, " ", &text);
                }
                Next::First { order, when } => self.first(&self.explanation.orders[*order], *when),
            }
        }
        let at_once = |next: &&Next| matches!(next, Next::First { when: When::Now, .. });
        if self.explanation.next.iter().filter(at_once).count() > 1 {
            let text =
                "which of these signals the kubelet takes first is open; it evicts one pod and looks again";
            self.wrapped(Tone::Faint, " ", text);
        }
    }

    fn nobody(&mut self) {
        let Some(nearest) = self.explanation.nearest() else {
            let text = "nobody goes: no threshold is set whose signal the statistics have";
            return self.wrapped(Tone::Good, " ", text);
        };
        let text = format!("nobody goes: no threshold is met; the nearest is {}", standing(nearest));
        self.wrapped(Tone::Good, " ", &text);
        let signal = nearest.threshold.signal;
        let order = self.explanation.orders.iter().find(|order| order.signals.contains(&signal));
        if let Some(first) = order.and_then(first_words) {
            self.wrapped(Tone::Plain, " ", &format!("if it were met: {first}"));
        }
    }

    /// Who goes first of an order, why, and by which threshold.
    fn first(&mut self, order: &Order, when: When) {
        let thresholds = self.explanation.thresholds.iter();
        let met: Vec<String> = thresholds
            .filter(|state| state.is_met() && order.met.contains(&state.threshold.signal))
            .filter(|state| when != When::Now || state.threshold.is_hard())
            .map(standing)
            .collect();
        let Some(group) = order.groups.first() else {
            let text = format!("nobody can go, although {}: all pods are exempt", met.join(" and "));
            return self.wrapped(Tone::Bad, " ", &text);
        };
        let who = either(group);
        let when_words = match when {
            When::Now => "goes".to_owned(),
            When::After(grace) => format!("goes once that has lasted {grace}"),
        };
        self.wrapped(Tone::Bad, " ", &format!("{who} {when_words}: {}", met.join("; ")));
        if let Some(why) = why(order, 0) {
            self.wrapped(Tone::Plain, "   ", &why);
        }
        if !order.node_reclaim.is_empty() {
            let what = words::list(order.node_reclaim.iter().map(|reclaim| match reclaim {
                NodeReclaim::Containers => "dead containers",
                NodeReclaim::Images => "unused images",
            }));
            let text = format!("before that the kubelet deletes {what}; if that is enough, nobody goes");
            self.wrapped(Tone::Plain, "   ", &text);
        }
    }

    fn thresholds(&mut self) {
        if self.explanation.thresholds.is_empty() {
            return;
        }
        self.section("Thresholds");
        let rows = self.explanation.thresholds.iter().map(threshold_row).collect();
        let header = ["signal", "available", "threshold", "reclaim", "distance", "grace", "state"];
        self.table(header, &[1, 2, 3, 4, 5], rows);
    }

    fn orders(&mut self) {
        for order in self.explanation.orders.iter().filter(|order| !order.met.is_empty()) {
            let title = format!("Order for {}", words::list(order.met.iter().map(|signal| signal.name())));
            self.section(&title);
            let total: usize = order.groups.iter().map(Vec::len).sum();
            let mut rows = Vec::new();
            let mut place = 1;
            for (at, group) in order.groups.iter().enumerate() {
                for (index, pod) in group.iter().enumerate() {
                    rows.push(order_row(order, at, index, place, pod));
                }
                place += group.len();
            }
            rows.truncate(self.top);
            let (used, requested) = match order.by {
                RankBy::Memory | RankBy::Disk(_) => ("used", "request"),
                RankBy::Inodes(_) => ("inodes", "request"),
                RankBy::Processes => ("processes", ""),
            };
            let header = ["", "pod", "class", "priority", used, requested, "goes before the next because"];
            self.table(header, &[0, 3, 4, 5], rows);
            if total > self.top {
                let more = format!(" and {} more", words::count(total - self.top, "pod"));
                self.line(Tone::Faint, &more);
            }
        }
    }

    fn if_they_were_met(&mut self) {
        let unmet: Vec<&Order> =
            self.explanation.orders.iter().filter(|order| order.met.is_empty()).collect();
        if unmet.is_empty() {
            return;
        }
        self.section("If they were met");
        let rows = unmet.into_iter().map(|order| {
            let signals = words::list(order.signals.iter().map(|signal| signal.name()));
            let first = order.groups.first().map_or_else(|| "nobody".to_owned(), |group| either(group));
            [signals, first, why(order, 0).unwrap_or_default()]
        });
        let rows = rows.collect();
        self.table(["signals", "first to go", "because"], &[], rows);
    }

    fn messages(&mut self) {
        let orders = self.explanation.orders.iter().filter(|order| !order.met.is_empty());
        let told: Vec<(&Order, &Ranked)> = orders
            .flat_map(|order| order.groups.iter().flatten().take(self.top).map(move |pod| (order, pod)))
            .collect();
        let over: Vec<(&str, String)> = self
            .explanation
            .limits
            .iter()
            .filter(|limit| limit.evictable && limit.limit.is_exceeded() && self.explanation.limits_enforced)
            .map(|limit| (limit.pod.as_str(), limit.limit.message().to_string()))
            .collect();
        if told.is_empty() && over.is_empty() {
            return;
        }
        self.section("What each would be told");
        for (pod, message) in over {
            self.wrapped(Tone::Plain, " ", &format!("{pod}, with 1s to end"));
            self.message("", &message);
        }
        for (order, pod) in told {
            let grace = pod.grace_period_seconds.map(|seconds| format!(", with {seconds}s to end"));
            let resource = order.met.first().map_or("", |signal| signal.resource().name());
            let text = format!("{}, for {resource}{}", pod.name, grace.unwrap_or_default());
            self.wrapped(Tone::Plain, " ", &text);
            for (at, message) in pod.messages.iter().enumerate() {
                self.message(if at == 0 { "" } else { "or: " }, message);
            }
        }
    }

    fn limits(&mut self) {
        let Explanation { limits, other_limits, limits_enforced, .. } = self.explanation;
        if limits.is_empty() && *other_limits == 0 {
            return;
        }
        self.section("Limits on local storage");
        if !limits_enforced {
            self.line(Tone::Warning, " not enforced: localStorageCapacityIsolation is off");
        }
        let rows: Vec<[String; 5]> = limits
            .iter()
            .map(|limit| {
                let on = match &limit.limit.on {
                    LimitOn::EmptyDir(volume) => format!("emptyDir {volume}"),
                    LimitOn::Pod => "all containers".to_owned(),
                    LimitOn::Container(container) => format!("container {container}"),
                };
                let state = match (limit.limit.is_exceeded(), limit.evictable) {
                    (true, true) => "OVER",
                    (true, false) => "over, but the pod is exempt",
                    (false, _) => "near",
                };
                let (used, allowed) = (limit.limit.used.value(), limit.limit.limit.value());
                [limit.pod.clone(), on, words::bytes(used), words::bytes(allowed), state.to_owned()]
            })
            .collect();
        if !rows.is_empty() {
            self.table(["pod", "limit of", "used", "limit", "state"], &[2, 3], rows);
        }
        if *other_limits > 0 {
            let text = format!(" {} used by less than 80 %", words::count(*other_limits, "limit"));
            self.line(Tone::Faint, &text);
        }
    }

    fn exempt(&mut self) {
        if self.explanation.exempt.is_empty() {
            return;
        }
        self.section("Never evicted");
        let rows = self.explanation.exempt.iter().map(|exempt| {
            let why = match exempt.why {
                Exemption::Static => {
                    "static: it comes from a file or an address that the kubelet reads".to_owned()
                }
                Exemption::Mirror => "mirror: the API server's image of a static pod".to_owned(),
                Exemption::Priority => {
                    format!("priority {} is system-critical, 2000000000 or more", exempt.priority)
                }
            };
            [exempt.name.clone(), why]
        });
        let rows = rows.collect();
        self.table(["pod", "because"], &[], rows);
    }
}
