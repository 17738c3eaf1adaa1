"use strict";
// The prototype's own method: a field named "submit" would hide the form's.
HTMLFormElement.prototype.submit.call(document.forms[0]);
