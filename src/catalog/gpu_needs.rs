//! What an environment needs of a GPU, and whether a machine has one that fits. Pure: must not depend on how GPUs are found.

use std::path::Path;

use anyhow::Result;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::gpu::Gpu;
use crate::yaml::{self, Spanned};

/// What its packages need of the GPU and its driver; a job on `cuda` is skipped where no GPU has it.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GpuNeeds {
    /// The oldest driver, as `"580"`.
    #[schemars(with = "Option<String>")]
    driver: Option<Spanned<String>>,
    /// The CUDA that the driver must support, as `"13.0"`.
    #[schemars(with = "Option<String>")]
    cuda: Option<Spanned<String>>,
    /// The oldest compute capability that there is code for, as `"7.5"`.
    #[schemars(with = "Option<String>")]
    from: Option<Spanned<String>>,
    /// The newest one; none where newer ones can be served too.
    #[schemars(with = "Option<String>")]
    to: Option<Spanned<String>>,
}

impl GpuNeeds {
    /// Refuses what is not a version.
    pub(super) fn check(&self, path: &Path) -> Result<()> {
        let all = [
            ("driver", &self.driver),
            ("cuda", &self.cuda),
            ("from", &self.from),
            ("to", &self.to),
        ];
        for (field, version) in all {
            let Some(Spanned { value, referenced, .. }) = version else { continue };
            if numbers(value).is_none() {
                let message =
                    format!("`gpu: {{{field}: {value}}}` is not a version; write `\"7.5\"`");
                return Err(yaml::wrong(path, referenced, message));
            }
        }
        Ok(())
    }

    /// Returns why none of some GPUs will do, or nothing if one will. What a GPU does not tell of itself hinders nothing.
    pub fn unmet(&self, gpus: &[Gpu]) -> Option<String> {
        let mut unmet = gpus.iter().map(|gpu| self.unmet_by(gpu)).collect::<Vec<_>>();
        unmet.sort();
        unmet.into_iter().next().flatten()
    }

    fn unmet_by(&self, gpu: &Gpu) -> Option<String> {
        let name = &gpu.name;
        if let Some(capability) = &gpu.compute_capability {
            let is_below = |bound: &str| numbers(capability) < numbers(bound);
            if let Some(from) = value(&self.from).filter(|from| is_below(from)) {
                return Some(format!(
                    "it has no code for {name}: found compute capability {capability}, needed is {from} or newer"
                ));
            }
            if let Some(to) = value(&self.to).filter(|to| numbers(capability) > numbers(to)) {
                return Some(format!(
                    "it has no code for {name}: found compute capability {capability}, needed is {to} or older"
                ));
            }
        }
        let driver = [
            ("driver", value(&self.driver), &gpu.driver),
            ("a driver with CUDA", value(&self.cuda), &gpu.cuda),
        ];
        for (what, needed, found) in driver {
            if let Some(needed) = needed
                && let (Some(has), Some(wants)) = (numbers(found), numbers(needed))
                && has < wants
            {
                return Some(format!("{name} has {what} {found}, needed is {needed} or newer"));
            }
        }
        None
    }
}

fn value(field: &Option<Spanned<String>>) -> Option<&str> {
    field.as_ref().map(|field| field.value.as_str())
}

/// Returns the numbers of a version, none if it is not one.
fn numbers(version: &str) -> Option<Vec<u32>> {
    version.split('.').map(|part| part.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn needs(text: &str) -> GpuNeeds {
        yaml::parse(Path::new("env.yaml"), text).unwrap()
    }

    fn gpu(name: &str, capability: &str, driver: &str, cuda: &str) -> Gpu {
        Gpu {
            name: name.to_owned(),
            compute_capability: Some(capability.to_owned()),
            driver: driver.to_owned(),
            cuda: cuda.to_owned(),
            ..Gpu::default()
        }
    }

    #[test]
    fn a_gpu_is_held_to_what_the_packages_have_code_for() {
        let k80 = gpu("Tesla K80", "3.7", "470.256.02", "11.4");
        let t4 = gpu("Tesla T4", "7.5", "580.159", "13.0");
        let h100 = gpu("NVIDIA H100", "9.0", "580.159", "13.0");
        let (today, then) = (
            "{from: '7.5', cuda: '13.0', driver: '580'}",
            "{from: '3.0', to: '7.5', cuda: '10.0'}",
        );
        let cases = [
            (
                today,
                vec![&k80],
                "it has no code for Tesla K80: found compute capability 3.7, needed is 7.5 or newer",
            ),
            (today, vec![&t4], ""),
            (today, vec![&h100], ""),
            (then, vec![&k80], ""),
            (
                then,
                vec![&h100],
                "it has no code for NVIDIA H100: found compute capability 9.0, needed is 7.5 or older",
            ),
            // One that fits is enough.
            (then, vec![&h100, &t4], ""),
            (
                "{cuda: '13.1'}",
                vec![&t4],
                "Tesla T4 has a driver with CUDA 13.0, needed is 13.1 or newer",
            ),
            ("{driver: '590'}", vec![&t4], "Tesla T4 has driver 580.159, needed is 590 or newer"),
            (
                "{from: '10.0'}",
                vec![&h100],
                "it has no code for NVIDIA H100: found compute capability 9.0, needed is 10.0 or newer",
            ),
            (today, vec![], ""),
        ];
        for (text, gpus, expected) in cases {
            let gpus = gpus.into_iter().cloned().collect::<Vec<_>>();
            assert_eq!(needs(text).unmet(&gpus).unwrap_or_default(), expected, "{text}");
        }
        let silent = Gpu { compute_capability: None, ..gpu("x", "", "", "") };
        assert_eq!(needs(today).unmet(&[silent]), None);
    }

    #[test]
    fn what_is_not_a_version_is_refused() {
        let error = needs("{from: seven}").check(Path::new("env.yaml")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "env.yaml:1:8: `gpu: {from: seven}` is not a version; write `\"7.5\"`"
        );
    }
}
