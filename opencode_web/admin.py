"""The admin's accounts: a name and a password; allauth's e-mail addresses are not used here."""

from allauth.account.models import EmailAddress
from django.contrib import admin

admin.site.unregister(EmailAddress)
