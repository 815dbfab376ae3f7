//! `runtime.kubernetes`: how agents run as pods.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::agents::SecretRef;
use super::expand::{Native, Quantity, Text};

/// How agents run as pods.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Kubernetes {
    /// Context of the kubeconfig. Default: its current one.
    pub context: Option<Text>,
    /// Path of the kubeconfig. Default: as kubectl finds it.
    pub kubeconfig: Option<Text>,
    /// Namespace of the agents. Default: `fracta`.
    pub namespace: Option<Text>,
    /// Image of pods whose runtime names none.
    pub image: Option<Text>,
    /// When nodes pull images.
    pub image_pull_policy: Option<PullPolicy>,
    /// Names of Secrets to pull images with.
    pub image_pull_secrets: Vec<Text>,
    /// Service account of the pods. Their token is never mounted.
    pub service_account: Option<Text>,
    /// Labels that a node must have.
    pub node_selector: BTreeMap<String, Text>,
    /// Tolerations, in Kubernetes' own shape.
    pub tolerations: Vec<Native>,
    /// What a pod asks for and may use.
    pub resources: Resources,
    /// Further labels of everything that is made.
    pub labels: BTreeMap<String, Text>,
    /// Further annotations of everything that is made.
    pub annotations: BTreeMap<String, Text>,
    /// How long a finished Job stays.
    #[schemars(range(max = 31_536_000))]
    pub job_ttl_seconds: u32,
    /// How long a pod may take to be ready.
    #[schemars(range(min = 1, max = 86_400))]
    pub ready_timeout_seconds: u32,
    /// What a pod works in.
    pub workspace: Workspace,
    /// Further volumes, in Kubernetes' own shape.
    pub extra_volumes: Vec<Native>,
    /// Further mounts, in Kubernetes' own shape; each names a volume that there is.
    pub extra_volume_mounts: Vec<Native>,
    /// How much pods are held back.
    pub pod_security: PodSecurity,
}

impl Default for Kubernetes {
    fn default() -> Self {
        Self {
            context: None,
            kubeconfig: None,
            namespace: None,
            image: None,
            image_pull_policy: None,
            image_pull_secrets: Vec::new(),
            service_account: None,
            node_selector: BTreeMap::new(),
            tolerations: Vec::new(),
            resources: Resources::default(),
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            job_ttl_seconds: 300,
            ready_timeout_seconds: 120,
            workspace: Workspace::default(),
            extra_volumes: Vec::new(),
            extra_volume_mounts: Vec::new(),
            pod_security: PodSecurity::default(),
        }
    }
}

impl Kubernetes {
    /// Namespace where `namespace` is not set.
    pub const NAMESPACE: &str = "fracta";
}

/// When nodes pull images.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PullPolicy {
    Always,
    IfNotPresent,
    Never,
}

/// What a pod asks for and may use.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Resources {
    /// What it asks for.
    pub requests: BTreeMap<String, Quantity>,
    /// What it may use.
    pub limits: BTreeMap<String, Quantity>,
}

/// What a pod works in.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Workspace {
    /// A repository, cloned before the agent starts.
    pub git: Option<Git>,
    /// Name of a PersistentVolumeClaim. Default: a volume that ends with the pod.
    pub pvc: Option<Text>,
    /// Size of the volume that ends with the pod.
    pub empty_dir_size: Option<Quantity>,
}

/// A repository.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Git {
    /// Where it is.
    pub url: Text,
    /// Branch, tag or commit. Default: the repository's own.
    #[serde(rename = "ref")]
    pub reference: Option<Text>,
    /// A key of a Secret to read it with.
    pub secret_ref: Option<SecretRef>,
}

/// How much pods are held back, in the words of Kubernetes' Pod Security Standards.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PodSecurity {
    /// No root, no new privileges, no capabilities, the runtime's default seccomp profile.
    #[default]
    Restricted,
    /// The image's own user; no more than the standard "baseline" allows.
    Baseline,
}
