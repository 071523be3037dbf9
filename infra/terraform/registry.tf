locals {
  host   = "${var.location}-docker.pkg.dev/${var.project}/${google_artifact_registry_repository.images.repository_id}"
  images = { for image in ["cpu", "cuda", "tpu", "mlflow"] : image => "${local.host}/elboflow-${image}:${var.tag}" }
}

# REGISTRY of infra/images/build.sh.
resource "google_artifact_registry_repository" "images" {
  repository_id = var.name
  location      = var.location
  format        = "DOCKER"
  kms_key_name  = google_kms_crypto_key.artifacts.id

  docker_config {
    immutable_tags = true
  }

  cleanup_policies {
    id     = "keep-what-is-recent"
    action = "KEEP"
    most_recent_versions {
      keep_count = 10
    }
  }

  cleanup_policies {
    id     = "delete-what-has-no-tag"
    action = "DELETE"
    condition {
      tag_state  = "UNTAGGED"
      older_than = "2592000s" # 30 days
    }
  }

  depends_on = [google_kms_crypto_key_iam_member.services]
}

# Compiled pipelines, by `elboflow publish`.
resource "google_artifact_registry_repository" "pipelines" {
  repository_id = "${var.name}-pipelines"
  location      = var.location
  format        = "KFP"
  kms_key_name  = google_kms_crypto_key.artifacts.id
  depends_on    = [google_kms_crypto_key_iam_member.services]
}
