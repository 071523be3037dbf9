# The database's password: made here, kept in Secret Manager, and in Terraform's state, which belongs in a bucket that
# few may read.
resource "random_password" "database" {
  length  = 32
  special = false
}

resource "google_secret_manager_secret" "database" {
  secret_id  = "${var.name}-mlflow-database"
  depends_on = [google_kms_crypto_key_iam_member.services]

  replication {
    user_managed {
      replicas {
        location = var.location
        customer_managed_encryption {
          kms_key_name = google_kms_crypto_key.artifacts.id
        }
      }
    }
  }
}

resource "google_secret_manager_secret_version" "database" {
  secret      = google_secret_manager_secret.database.id
  secret_data = random_password.database.result
}

resource "google_secret_manager_secret_iam_member" "database" {
  secret_id = google_secret_manager_secret.database.id
  role      = "roles/secretmanager.secretAccessor"
  member    = local.accounts.mlflow
}

# The address that `notify: webhook` posts to, for who sets it:
#   printf %s https://… | gcloud secrets versions add elboflow-webhook --data-file=-
resource "google_secret_manager_secret" "webhook" {
  secret_id  = "${var.name}-webhook"
  depends_on = [google_kms_crypto_key_iam_member.services]

  replication {
    user_managed {
      replicas {
        location = var.location
        customer_managed_encryption {
          kms_key_name = google_kms_crypto_key.artifacts.id
        }
      }
    }
  }
}

resource "google_secret_manager_secret_iam_member" "webhook" {
  secret_id = google_secret_manager_secret.webhook.id
  role      = "roles/secretmanager.secretAccessor"
  member    = local.accounts.pipeline
}
