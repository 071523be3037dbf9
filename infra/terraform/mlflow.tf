# MLflow on Cloud Run behind IAP, its database on a private address, its files in the bucket.
resource "google_cloud_run_v2_service" "mlflow" {
  name        = "${var.name}-mlflow"
  location    = var.location
  ingress     = "INGRESS_TRAFFIC_ALL" # IAP stands before every way in
  iap_enabled = true

  template {
    service_account = google_service_account.of["mlflow"].email
    encryption_key  = google_kms_crypto_key.artifacts.id

    scaling {
      min_instance_count = 0
      max_instance_count = 3
    }

    vpc_access {
      egress = "PRIVATE_RANGES_ONLY"
      network_interfaces {
        network    = google_compute_network.this.id
        subnetwork = google_compute_subnetwork.this.id
      }
    }

    containers {
      image = local.images.mlflow
      args = [ # after the image's own `mlflow server --host 0.0.0.0 --port 5000`
        "--backend-store-uri=postgresql+psycopg2://mlflow@${google_sql_database_instance.mlflow.private_ip_address}:5432/mlflow?sslmode=require",
        "--artifacts-destination=gs://${google_storage_bucket.artifacts.name}/mlflow",
        "--workers=2",
        "--allowed-hosts=*.run.app",
      ]

      ports {
        container_port = 5000
      }

      env {
        name = "PGPASSWORD"
        value_source {
          secret_key_ref {
            secret  = google_secret_manager_secret.database.secret_id
            version = google_secret_manager_secret_version.database.version
          }
        }
      }

      resources {
        limits = { cpu = "2", memory = "2Gi" }
      }

      startup_probe {
        period_seconds    = 5
        failure_threshold = 48 # the first start migrates the database
        http_get {
          path = "/health"
        }
      }

      liveness_probe {
        period_seconds = 30
        http_get {
          path = "/health"
        }
      }
    }
  }

  depends_on = [
    google_secret_manager_secret_iam_member.database,
    google_kms_crypto_key_iam_member.services,
    google_project_iam_member.of,
  ]
}

# IAP lets these through, and nobody but IAP calls the service.
resource "google_iap_web_cloud_run_service_iam_member" "mlflow" {
  for_each               = merge({ for person in var.people : person => person }, { for name in ["pipeline", "submit"] : name => local.accounts[name] })
  location               = var.location
  cloud_run_service_name = google_cloud_run_v2_service.mlflow.name
  role                   = "roles/iap.httpsResourceAccessor"
  member                 = each.value
}

# Enabling the API does not make IAP's own account; this does.
resource "google_project_service_identity" "iap" {
  provider = google-beta
  service  = google_project_service.used["iap"].service
}

resource "google_cloud_run_v2_service_iam_member" "iap" {
  name     = google_cloud_run_v2_service.mlflow.name
  location = var.location
  role     = "roles/run.invoker"
  member   = google_project_service_identity.iap.member
}

resource "google_sql_database_instance" "mlflow" {
  #checkov:skip=CKV_GCP_6: TLS is required; a certificate of each client as well would be a second secret beside the password, on a private network
  #checkov:skip=CKV_GCP_79: 15 is what compose.yaml and the Kubernetes manifests have, and what the tests run MLflow on
  name                = "${var.name}-mlflow"
  database_version    = "POSTGRES_15"
  region              = var.location
  encryption_key_name = google_kms_crypto_key.artifacts.id
  deletion_protection = true

  settings {
    tier              = var.database_tier
    edition           = "ENTERPRISE"
    availability_type = "ZONAL"
    disk_autoresize   = true

    ip_configuration {
      ipv4_enabled    = false
      private_network = google_compute_network.this.id
      ssl_mode        = "ENCRYPTED_ONLY"
    }

    backup_configuration {
      enabled                        = true
      point_in_time_recovery_enabled = true
    }

    database_flags {
      name  = "cloudsql.enable_pgaudit"
      value = "on"
    }

    database_flags {
      name  = "log_checkpoints"
      value = "on"
    }

    database_flags {
      name  = "log_connections"
      value = "on"
    }

    database_flags {
      name  = "log_disconnections"
      value = "on"
    }

    database_flags {
      name  = "log_duration"
      value = "on"
    }

    database_flags {
      name  = "log_hostname"
      value = "on"
    }

    database_flags {
      name  = "log_lock_waits"
      value = "on"
    }

    database_flags {
      name  = "log_min_duration_statement"
      value = "-1"
    }

    database_flags {
      name  = "log_min_error_statement"
      value = "error"
    }

    database_flags {
      name  = "log_min_messages"
      value = "warning"
    }

    database_flags {
      name  = "log_statement"
      value = "ddl"
    }

    database_flags {
      name  = "log_temp_files"
      value = "0"
    }
  }

  depends_on = [google_service_networking_connection.this, google_kms_crypto_key_iam_member.services]
}

resource "google_sql_database" "mlflow" {
  name     = "mlflow"
  instance = google_sql_database_instance.mlflow.name
}

resource "google_sql_user" "mlflow" {
  name     = "mlflow"
  instance = google_sql_database_instance.mlflow.name
  password = random_password.database.result
}
