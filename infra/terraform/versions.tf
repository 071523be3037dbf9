terraform {
  required_version = ">= 1.9"

  required_providers {
    google = {
      source  = "hashicorp/google"
      version = "~> 7.0"
    }
    google-beta = { # the identities of services exist there only
      source  = "hashicorp/google-beta"
      version = "~> 7.0"
    }
    random = {
      source  = "hashicorp/random"
      version = "~> 3.6"
    }
  }
}

provider "google" {
  project               = var.project
  region                = var.location
  user_project_override = true # the budget's API wants to know whose quota it is
  billing_project       = var.project
}

provider "google-beta" {
  project = var.project
  region  = var.location
}

data "google_project" "this" {
  depends_on = [google_project_service.used]
}

resource "google_project_service" "used" {
  for_each = toset([
    "aiplatform", "artifactregistry", "billingbudgets", "cloudkms", "cloudresourcemanager", "compute", "dataflow", "iam",
    "iamcredentials", "iap", "logging", "run", "secretmanager", "servicenetworking", "sqladmin", "storage", "sts",
  ])
  service            = "${each.key}.googleapis.com"
  disable_on_destroy = false
}
