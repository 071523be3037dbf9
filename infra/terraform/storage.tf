# pipelines/ is the root of pipelines: Vertex AI puts runs into a folder with the number of the project, and beside it
# lie datasets/, which outlive them, and temporary/. mlflow/ holds the files of MLflow.
resource "google_storage_bucket" "artifacts" {
  #checkov:skip=CKV_GCP_62: reads and writes are in Cloud Audit Logs; a log bucket would hold them twice
  name                        = "${var.project}-${var.name}"
  location                    = var.location
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"

  versioning {
    enabled = true
  }

  encryption {
    default_kms_key_name = google_kms_crypto_key.artifacts.id
  }

  lifecycle_rule {
    condition {
      age            = var.keep_days
      matches_prefix = ["pipelines/${data.google_project.this.number}/", "pipelines/temporary/"]
    }
    action {
      type = "Delete"
    }
  }

  lifecycle_rule { # a deleted or overwritten file can be had back for this long
    condition {
      days_since_noncurrent_time = 30
      with_state                 = "ARCHIVED"
    }
    action {
      type = "Delete"
    }
  }

  lifecycle_rule {
    condition {
      age = 7
    }
    action {
      type = "AbortIncompleteMultipartUpload"
    }
  }

  depends_on = [google_kms_crypto_key_iam_member.services]
}

# One key for everything that a run leaves: the bucket, the images, and what Vertex AI keeps.
resource "google_kms_key_ring" "this" {
  name       = var.name
  location   = var.location
  depends_on = [google_project_service.used]
}

resource "google_kms_crypto_key" "artifacts" {
  name            = "artifacts"
  key_ring        = google_kms_key_ring.this.id
  rotation_period = "7776000s" # 90 days

  lifecycle {
    prevent_destroy = true # without it nothing can be read again
  }
}

data "google_storage_project_service_account" "this" {
  depends_on = [google_project_service.used]
}

# The services' own accounts, which enabling the APIs does not always make.
resource "google_project_service_identity" "of" {
  provider = google-beta
  for_each = toset(["aiplatform", "artifactregistry", "dataflow", "run", "secretmanager", "sqladmin"])
  service  = google_project_service.used[each.key].service
}

resource "google_kms_crypto_key_iam_member" "services" {
  for_each = merge(
    { storage = "serviceAccount:${data.google_storage_project_service_account.this.email_address}" },
    { compute = "serviceAccount:service-${data.google_project.this.number}@compute-system.iam.gserviceaccount.com" },
    { for service, identity in google_project_service_identity.of : service => identity.member },
  )
  crypto_key_id = google_kms_crypto_key.artifacts.id
  role          = "roles/cloudkms.cryptoKeyEncrypterDecrypter"
  member        = each.value
}
