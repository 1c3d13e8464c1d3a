-- The box office over HTTP: for the gateway, which says for whom it asks, and for nobody else.
REVOKE EXECUTE ON FUNCTION
    usher.gateway_box_booking, usher.gateway_box_bookings, usher.gateway_box_change, usher.gateway_box_availability, usher.gateway_box_list,
    usher.gateway_box_one, usher.gateway_box_seats, usher.gateway_box_organise,
    usher.box_booking_json, usher.box_event_json, usher.box_show_json, usher.box_zone_json, usher.box_shown_event, usher.box_shown_show,
    usher.box_add_price, usher.box_add_row, usher.box_update_event FROM usher_admin;
GRANT EXECUTE ON FUNCTION
    usher.gateway_box_booking, usher.gateway_box_bookings, usher.gateway_box_change, usher.gateway_box_availability, usher.gateway_box_list,
    usher.gateway_box_one, usher.gateway_box_seats, usher.gateway_box_organise
    TO usher_gateway;
