import './built-in.js';
