variable "project" {
  description = "The id of the project, which exists and belongs to an organisation (IAP asks for one)."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.project))
    error_message = "A project's id is 6 to 30 lower-case letters, digits and hyphens, a letter first."
  }
}

variable "location" {
  description = "The region of everything: one in which Vertex AI has the accelerators that you want."
  type        = string
  default     = "europe-west4"

  validation {
    condition     = can(regex("^[a-z]+-[a-z]+[0-9]+$", var.location))
    error_message = "A region, such as europe-west4; not a zone, and not a multi-region."
  }
}

variable "name" {
  description = "The prefix of what is made, so that a project can hold it twice."
  type        = string
  default     = "elboflow"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{2,14}$", var.name))
    error_message = "3 to 15 lower-case letters, digits and hyphens, a letter first."
  }
}

variable "tag" {
  description = "The tag of the images, which `infra/images/build.sh build` printed."
  type        = string

  validation {
    condition     = can(regex("^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$", var.tag)) && var.tag != "latest"
    error_message = "A tag that stays what it is: a commit, say, and not `latest`."
  }
}

variable "people" {
  description = "Who may open MLflow in a browser, such as group:ml@example.com or user:ada@example.com."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for person in var.people : can(regex("^(user|group|domain):", person))])
    error_message = "Each begins with user:, group: or domain:."
  }
}

variable "submitters" {
  description = "Who may submit pipelines and publish them: people and the service accounts of CI."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for member in var.submitters : can(regex("^(user|group|serviceAccount):", member))])
    error_message = "Each begins with user:, group: or serviceAccount:."
  }
}

variable "github_repository" {
  description = "The repository on GitHub, as owner/name, whose main branch pushes images (.github/workflows/images.yaml); null lets none."
  type        = string
  default     = null

  validation {
    condition     = var.github_repository == null || can(regex("^[A-Za-z0-9-]+/[A-Za-z0-9._-]+$", var.github_repository))
    error_message = "As owner/name, such as example/elboflow."
  }
}

variable "keep_days" {
  description = "Days after which the files of a pipeline run go; MLflow's files and the datasets stay."
  type        = number
  default     = 90

  validation {
    condition     = var.keep_days >= 7
    error_message = "At least 7, or a run that is followed up after a weekend has lost its files."
  }
}

variable "database_tier" {
  description = "The machine of Cloud SQL."
  type        = string
  default     = "db-custom-1-3840"
}

variable "billing_account" {
  description = "The billing account that the budget watches, as 000000-000000-000000; null makes no budget."
  type        = string
  default     = null

  validation {
    condition     = var.billing_account == null || can(regex("^[0-9A-F]{6}-[0-9A-F]{6}-[0-9A-F]{6}$", var.billing_account))
    error_message = "Three groups of six characters: 012345-6789AB-CDEF01."
  }
}

variable "budget" {
  description = "The budget of a month, in whole units of the account's currency: mail goes out at half, at nine tenths, and when it is forecast to be exceeded. Nothing is switched off."
  type        = number
  default     = 500

  validation {
    condition     = var.budget > 0 && floor(var.budget) == var.budget
    error_message = "A whole number above zero."
  }
}
